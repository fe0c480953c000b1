"""Ctrl-C, SIGTERM and SIGHUP while trials run: once to stop after what is running, twice to stop now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

from harness.execute.stop import StopRequest

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # the last where there are terminals to hang up
FIRST = "stopping: what runs has 10 s to finish, nothing new starts; once more to stop now"


@contextmanager
def stopping_on_signals(say: Callable[[str], None]) -> Iterator[StopRequest]:
    """Turn the signals into requests to stop; the handlers before are put back.

    A signal that this process was started to ignore (``nohup``, the background of a script) stays
    ignored.

    Args:
        say: shows a message, in a thread that sleeps until then: a signal may come while this one
            is writing to the same stream, which it cannot do twice at once.
    """
    with StopRequest() as stop, _telling(say) as heard:

        def handle(_number: int, _frame: FrameType | None) -> None:
            stop.request()
            heard.put(FIRST if stop.count == 1 else "stopping now")

        before = {number: signal.signal(number, handle) for number in _heeded()}
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _telling(say: Callable[[str], None]) -> Iterator[SimpleQueue[str]]:
    """Give a queue whose texts are said one after the other; its ``put`` may be called from a signal handler."""
    heard: SimpleQueue[str] = SimpleQueue()

    def tell() -> None:
        for text in iter(heard.get, ""):
            say(text)

    teller = threading.Thread(target=tell, name="signals", daemon=True)
    teller.start()
    try:
        yield heard
    finally:
        heard.put("")
        teller.join()


def _heeded() -> list[signal.Signals]:
    numbers = [signal.Signals[name] for name in _SIGNALS if name in signal.Signals.__members__]
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
