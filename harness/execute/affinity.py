"""The processors on which workers may run."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from harness.contract import UsageError

_PIECE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


def read_affinity(text: str, threads: Sequence[int]) -> tuple[int, ...]:
    """Return the processors of a list such as ``0,2`` or ``0-3``, which must hold every trial's ``threads``.

    Raises:
        UsageError: it is no such list, names a processor that this process may not use, or too few
            of them.
    """
    if not hasattr(os, "sched_setaffinity"):
        raise UsageError(
            "--affinity: this system cannot bind a process to processors; leave it out"
        )
    pieces = [_PIECE.fullmatch(piece.strip()) for piece in text.split(",")]
    if not all(pieces):
        raise UsageError(f"--affinity {text!r}: write processors as in 0,2 or 0-3")
    wanted = sorted(
        {
            n
            for piece in pieces
            if piece
            for n in range(int(piece[1]), int(piece[2] or piece[1]) + 1)
        }
    )
    allowed = os.sched_getaffinity(0)
    if not wanted or not allowed.issuperset(wanted):
        raise UsageError(
            f"--affinity {text!r}: this process may use the processors {_listed(sorted(allowed))}"
        )
    if len(wanted) < max(threads, default=1):
        needed = f"{max(threads)} threads need as many processors"
        raise UsageError(f"--affinity {text!r}: {needed}; add some, or lower --threads")
    return tuple(wanted)


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))
