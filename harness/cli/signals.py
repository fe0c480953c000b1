"""Ctrl-C, SIGTERM and SIGHUP while trials run: once to stop after what is running, twice to stop now."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from harness.sweep.stop import StopRequest

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # the last where there are terminals to hang up
FIRST = "stopping: what runs has 10 s to finish, nothing new starts; once more to stop now"


@contextmanager
def stopping_on_signals(say: Callable[[str], None]) -> Iterator[StopRequest]:
    """Turn the signals into requests to stop; the handlers before are put back.

    A signal that this process was started to ignore (``nohup``, the background of a script) stays ignored.
    """
    with StopRequest() as stop:

        def handle(_number: int, _frame: FrameType | None) -> None:
            stop.request()
            say(FIRST if stop.count == 1 else "stopping now")

        before = {number: signal.signal(number, handle) for number in _heeded()}
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _heeded() -> list[signal.Signals]:
    numbers = [signal.Signals[name] for name in _SIGNALS if name in signal.Signals.__members__]
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
