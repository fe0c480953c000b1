"""Tries a failed launch again at once, while tries are left."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from harness.contract import Record
from harness.execute.stop import StopRequest

# The other statuses come from the trial itself.
RETRIED = ("crashed", "timeout", "out_of_memory", "failed", "interrupted")


def tried(launch: Callable[[], Record], retries: int, stop: StopRequest) -> Record:
    """Return the record of the first launch that ended well, or of the last try.

    Its details hold ``wall_seconds`` of that try, imports included, and ``attempts``, the status
    and reason of each earlier try.

    Args:
        launch: runs one launch.
        retries: how often a failed launch is tried again.
        stop: after a request to stop, nothing is tried again.
    """
    attempts: list[dict[str, str | None]] = []
    while True:
        began = time.monotonic()
        record = launch()
        details = {**record.details, "wall_seconds": time.monotonic() - began}
        if record.status not in RETRIED or len(attempts) >= retries or stop.count:
            return replace(record, details=details | ({"attempts": attempts} if attempts else {}))
        attempts.append({"status": record.status, "reason": record.reason})
