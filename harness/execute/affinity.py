"""The processors on which workers may run."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from harness.contract import UsageError

_PIECE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


def read_affinity(text: str, threads: Sequence[int]) -> tuple[int, ...]:
    """Return the processors of a list such as ``0,2`` or ``0-3``.

    Args:
        text: the list.
        threads: of each trial.

    Raises:
        UsageError: the list is malformed, names a processor that this process may not use, or has
            too few for a trial.
    """
    if not hasattr(os, "sched_setaffinity"):
        problem = "this system cannot bind a process to processors"
        raise UsageError(f"--affinity: {problem}; leave it out")
    wanted = set[int]()
    for piece in text.split(","):
        match = _PIECE.fullmatch(piece.strip())
        if match is None:
            raise UsageError(f"--affinity {text!r}: write processors as in 0,2 or 0-3")
        wanted.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    allowed = os.sched_getaffinity(0)
    if not wanted or not allowed.issuperset(wanted):
        listed = ",".join(map(str, sorted(allowed)))
        raise UsageError(f"--affinity {text!r}: this process may use the processors {listed}")
    if len(wanted) < max(threads, default=1):
        needed = f"{max(threads)} threads need as many processors"
        raise UsageError(f"--affinity {text!r}: {needed}; add some, or lower --threads")
    return tuple(sorted(wanted))
