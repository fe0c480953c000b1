"""The reaper: a worker's parent, which lets nothing of its session live on once the worker or the executor is gone.

A process, not a thread: a plugin that hangs while it holds the interpreter's lock cannot stop it.
It sleeps, imports nothing heavy, and costs the measurement nothing. On Linux every orphan below it
becomes its child, whatever session or process group it moved to, so that none is overlooked.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36  # of prctl(2)
_DEAF_TO = ("SIGTERM", "SIGINT", "SIGHUP")  # meant for the worker
_KILL_SECONDS = 10.0  # then somebody is stuck inside the kernel
_ROUND_SECONDS = 0.005


def keep(*pipes: int) -> None:
    """Fork: return in the worker; in the reaper, watch over it and end as it did.

    The executor keeps the other end of stdin open; its end means that the executor is gone, or
    wants all gone.

    Args:
        pipes: descriptors of the worker's, which the reaper must not hold open.
    """
    reaper = os.getpid()
    _prctl(_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(
        signal.SIGCHLD, lambda *_: None
    )  # a handler of its own, or nothing would be written
    signal.set_wakeup_fd(wake)
    worker = os.fork()
    if worker:
        _watch_over(worker, woken, pipes)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.close(woken)
    os.close(wake)
    _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != reaper:  # it was gone before the line above
        os._exit(1)
    with contextlib.suppress(
        OSError
    ):  # where memory runs out, the kernel takes the worker and not the executor
        Path("/proc/self/oom_score_adj").write_text("1000")


def end_descendants() -> None:
    """Kill everything below this process, until there is nothing: who forks meanwhile is found in the next round."""
    import psutil

    this, deadline = psutil.Process(), time.monotonic() + _KILL_SECONDS
    while (found := this.children(recursive=True)) and time.monotonic() < deadline:
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        _reap()
        time.sleep(_ROUND_SECONDS)


def _watch_over(worker: int, woken: int, pipes: tuple[int, ...]) -> NoReturn:
    for name in _DEAF_TO:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    for descriptor in (1, 2, *pipes):
        os.close(descriptor)
    try:
        status = _wait(worker, woken)
        if status is None or _has_children():
            end_descendants()
        if status is not None:
            _end_like(status)
    finally:
        with contextlib.suppress(OSError):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def _wait(worker: int, woken: int) -> int | None:
    """Sleep until the worker has ended, and return its wait status; or None once stdin is closed."""
    poll = select.poll()
    poll.register(0, 0)  # the hang-up alone: what comes is for the worker to read
    poll.register(woken, select.POLLIN)
    while 0 not in dict(poll.poll()):
        os.read(woken, 4096)
        if (status := _reap().get(worker)) is not None:
            return status
    return None


def _reap() -> dict[int, int]:
    """Collect the children that have ended: pid -> wait status."""
    found = {}
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            found[ended[0]] = ended[1]
    return found


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _end_like(status: int) -> NoReturn:
    """End with the exit status or by the signal that the worker ended with."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the worker has left its own, if any
        with contextlib.suppress(OSError):  # of SIGKILL
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
