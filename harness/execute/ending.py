"""Status and reason of a worker that ended without a record."""

from __future__ import annotations

import signal

from harness.contract.wording import mebibytes
from harness.execute.worker_log import CappedLog


def exit_outcome(
    status: int, kills: int, peak_bytes: float | None, log: CappedLog
) -> tuple[str, str]:
    """Return status and reason of a worker that ended by itself without a record.

    Args:
        status: its exit status, negative for a signal.
        kills: processes that the kernel killed meanwhile because memory ran out.
        peak_bytes: the most memory that it was seen to hold.
        log: what it printed.
    """
    if status >= 0:
        reason, last = f"crashed (exit status {status} and no record)", log.tail(1).strip()
        return "crashed", f"{reason}: {last}" if last else reason
    seen = f"peak memory seen: {mebibytes(peak_bytes)}"
    if -status != signal.SIGKILL:
        return "crashed", f"crashed ({_signal_name(-status)})"
    if kills:
        return "out_of_memory", f"out of memory: the kernel killed the worker; {seen}"
    who = "somebody killed the worker, the kernel reports no lack of memory"
    return "crashed", f"crashed (SIGKILL): {who}; {seen}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
