"""Ctrl-C, SIGTERM and SIGHUP during trials: once stops after what is running, twice stops now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

from harness.execute.stop import StopRequest

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # not every system has the last
FIRST = "stopping: what runs has 10 s to finish, nothing new starts; once more to stop now"


@contextmanager
def stopping_on_signals(say: Callable[[str], None]) -> Iterator[StopRequest]:
    """Turn the signals into requests to stop, and restore the old handlers at the end.

    A signal that this process was started to ignore stays ignored (``nohup``, ``&`` in a script).

    Args:
        say: shows a message. It is called in a thread of its own: a signal may arrive while the
            main thread writes to the same stream.
    """
    with StopRequest() as stop, _speaking(say) as messages:

        def handle(_number: int, _frame: FrameType | None) -> None:
            stop.request()
            messages.put(FIRST if stop.count == 1 else "stopping now")

        before = {number: signal.signal(number, handle) for number in _heeded()}
        try:
            yield stop
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _speaking(say: Callable[[str], None]) -> Iterator[SimpleQueue[str]]:
    """Give a queue whose texts are shown in order. A signal handler may call its ``put``."""
    messages: SimpleQueue[str] = SimpleQueue()

    def speak() -> None:
        for text in iter(messages.get, ""):
            say(text)

    speaker = threading.Thread(target=speak, name="signals", daemon=True)
    speaker.start()
    try:
        yield messages
    finally:
        messages.put("")
        speaker.join()


def _heeded() -> list[signal.Signals]:
    numbers = [signal.Signals[name] for name in _SIGNALS if name in signal.Signals.__members__]
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
