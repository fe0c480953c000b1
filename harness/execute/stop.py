"""A request to stop: a signal handler makes it, and it wakes a waiting executor."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Self


class StopRequest:
    """Counts requests. One: start nothing new, and give running trials a while. Two: stop now.

    ``request`` may be called from a signal handler. The object can be registered with a selector:
    it is readable after a request.
    """

    def __init__(self) -> None:
        self.count = 0
        self._followers: tuple[StopRequest, ...] = ()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def request(self) -> None:
        """Add a request."""
        self.count += 1
        with contextlib.suppress(BlockingIOError):
            os.write(self._write, b"!")
        for follower in self._followers:
            follower.request()

    @contextlib.contextmanager
    def follower(self) -> Iterator[StopRequest]:
        """Yield a copy that gets every request too: each waiter needs its own descriptor."""
        with StopRequest() as follower:
            self._followers = (*self._followers, follower)
            while follower.count < self.count:  # requested earlier
                follower.request()
            try:
                yield follower
            finally:
                self._followers = tuple(other for other in self._followers if other is not follower)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable with a request."""
        return self._read

    def drain(self) -> None:
        """Make the descriptor unreadable until the next request."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self._read)
        os.close(self._write)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
