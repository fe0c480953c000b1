"""A launch that ended badly, tried again at once while tries are left; and how long the last try took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from harness.contract import Record
from harness.execute.stop import StopRequest

RETRIED = (
    "crashed",
    "timeout",
    "out_of_memory",
    "failed",
    "interrupted",
)  # the rest is what the trial itself gives


def tried(launch: Callable[[], Record], retries: int, stop: StopRequest) -> Record:
    """Return the record of the first launch that ended well, or of the last that was tried.

    Its details hold ``wall_seconds``, imports included, and ``attempts``, the status and reason of
    each try before it.

    Args:
        launch: runs one launch.
        retries: how often one that ended badly is tried again.
        stop: where somebody asks to stop; then nothing is tried again.
    """
    attempts: list[dict[str, str | None]] = []
    while True:
        began = time.monotonic()
        record = launch()
        details = {**record.details, "wall_seconds": time.monotonic() - began}
        if record.status not in RETRIED or len(attempts) >= retries or stop.count:
            return replace(record, details=details | ({"attempts": attempts} if attempts else {}))
        attempts.append({"status": record.status, "reason": record.reason})
