"""Ctrl-C and SIGTERM while trials run: once to stop after the running one, twice to stop now."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from harness.sweep.stop import StopRequest

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
FIRST = "stopping: what runs has 10 s to finish, nothing new starts; once more to stop now"


@contextmanager
def stopping_on_signals(say: Callable[[str], None]) -> Iterator[StopRequest]:
    """Turn the signals into requests to stop; the handlers before are put back."""
    with StopRequest() as stop:

        def handle(_number: int, _frame: FrameType | None) -> None:
            stop.request()
            say(FIRST if stop.count == 1 else "stopping now")

        before = {number: signal.signal(number, handle) for number in _SIGNALS}
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
