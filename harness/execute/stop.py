"""A request to stop that wakes whoever waits: made by a signal handler, seen by an executor."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Self


class StopRequest:
    """Counts requests: once means start nothing new and give the running trial a while, twice means now.

    ``request`` may be called from a signal handler; the object can be registered with a selector,
    and is then readable.
    """

    def __init__(self) -> None:
        self.count = 0
        self._followers: tuple[StopRequest, ...] = ()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def request(self) -> None:
        """Ask once more."""
        self.count += 1
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"!")
        for follower in self._followers:
            follower.request()

    @contextlib.contextmanager
    def follower(self) -> Iterator[StopRequest]:
        """Give another one, asked whenever this one is: a second waiter needs a descriptor of its own."""
        with StopRequest() as follower:
            self._followers = (*self._followers, follower)
            while follower.count < self.count:  # asked before it followed
                follower.request()
            try:
                yield follower
            finally:
                self._followers = tuple(one for one in self._followers if one is not follower)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable with a request."""
        return self._read

    def drain(self) -> None:
        """Make the descriptor unreadable until the next request."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)

    def close(self) -> None:
        """Give the descriptors back."""
        os.close(self._read)
        os.close(self._write)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
