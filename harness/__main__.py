"""The entrance of ``harness`` and ``python -m harness``: Ctrl-C while the command line loads is no traceback."""

import os
import signal
from types import FrameType
from typing import NoReturn


def main() -> None:
    """Load the command line and run it."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:  # as it is in the background of a script
        signal.signal(signal.SIGINT, _leave)
    from harness.cli.main import main as command_line

    signal.signal(signal.SIGINT, before)
    command_line()


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End at once: nothing has begun."""
    os.write(2, b"interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
