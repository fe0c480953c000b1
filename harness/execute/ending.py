"""How a worker ended that left no record: from its exit status to a status and a reason."""

from __future__ import annotations

import signal

from harness.execute.memory_watch import mebibytes
from harness.execute.worker_log import CappedLog


def exit_outcome(
    status: int, kills: int, peak_bytes: float | None, log: CappedLog
) -> tuple[str, str]:
    """Return status and reason of a worker that ended by itself without a record.

    Args:
        status: its exit status, negative for a signal.
        kills: how many processes the kernel killed for memory meanwhile.
        peak_bytes: the most that it was seen to hold.
        log: what it printed.
    """
    if status >= 0:
        last = log.tail(1).strip()
        return (
            "crashed",
            f"crashed (exit status {status} and no record){': ' + last if last else ''}",
        )
    seen = "peak memory seen: " + ("unknown" if peak_bytes is None else mebibytes(peak_bytes))
    if -status != signal.SIGKILL:
        return "crashed", f"crashed ({_signal_name(-status)})"
    if kills:
        return "out_of_memory", f"out of memory: the kernel killed the worker; {seen}"
    return (
        "crashed",
        f"crashed (SIGKILL): somebody killed the worker, the kernel reports no lack of memory; {seen}",
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
