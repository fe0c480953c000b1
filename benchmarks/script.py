"""Runs a script of this folder, and ends it with a message if it cannot go on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from harness.contract import HarnessError


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Call ``main`` with the command line's arguments. A HarnessError ends it with status 2."""
    try:
        main(sys.argv[1:])
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
