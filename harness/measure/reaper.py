"""The reaper: a worker's parent process. It ends all descendants when the worker or executor ends.

It is a process, because a plugin that hangs while it holds the interpreter's lock would stop a
thread. It sleeps and imports nothing heavy, so it does not disturb the measurement. On Linux every
orphan below it becomes its child, in whatever session or process group, so none is overlooked.
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
_KILL_SECONDS = 10.0  # after that, a process is stuck inside the kernel
_ROUND_SECONDS = 0.005


def start_reaper(*pipes: int) -> None:
    """Fork. Return in the worker; in the reaper, watch the worker and end as it ends.

    The executor holds the other end of stdin. When that closes, the executor has ended or wants
    the worker to end.

    Args:
        pipes: descriptors of the worker, which the reaper must not hold open.
    """
    reaper = os.getpid()
    _prctl(_SET_CHILD_SUBREAPER, 1)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler nothing would be written
    signal.set_wakeup_fd(wake)
    worker = os.fork()
    if worker:
        _watch_over(worker, woken, pipes)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.close(woken)
    os.close(wake)
    die_with_parent()
    if os.getppid() != reaper:  # it had ended before the line above
        os._exit(1)
    # If memory runs out, the kernel ends the worker and not the executor.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends (on Linux)."""
    _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def end_descendants() -> None:
    """Kill all descendants of this process, in rounds: one may fork meanwhile."""
    import psutil

    this, deadline = psutil.Process(), time.monotonic() + _KILL_SECONDS
    while (processes := this.children(recursive=True)) and time.monotonic() < deadline:
        for process in processes:
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
    """Sleep until the worker has ended, and return its wait status; None: stdin was closed."""
    poll = select.poll()
    poll.register(0, 0)  # only the hang-up: the worker reads the content
    poll.register(woken, select.POLLIN)
    while 0 not in dict(poll.poll()):
        os.read(woken, 4096)
        if (status := _reap().get(worker)) is not None:
            return status
    return None


def _reap() -> dict[int, int]:
    """Collect the children that have ended: pid -> wait status."""
    statuses = {}
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            statuses[ended[0]] = ended[1]
    return statuses


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _end_like(status: int) -> NoReturn:
    """End with the exit status or the signal of the worker."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the worker has left a core, if any
        with contextlib.suppress(OSError):  # of SIGKILL
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
