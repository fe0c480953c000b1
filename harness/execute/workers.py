"""Gives workers to launches: a fresh one each or, to explore, one that is used again."""

from __future__ import annotations

import itertools
import select
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

from harness.execute.process import Worker


class Workers:
    """Gives out workers, and ends those that are not needed any more. Threads may share it.

    Attributes:
        warm: whether a worker whose trial ended well is kept for the next trial of its kind.
    """

    def __init__(self, *, warm: bool = False) -> None:
        self.warm = warm
        self._idle: dict[Hashable, list[Worker]] = {}

    @contextmanager
    def worker(
        self, kind: Hashable, request: bytes, environment: Mapping[str, str], python: str
    ) -> Iterator[Worker]:
        """Yield a worker that got ``request``. It is kept if it is ``reusable``, and else ended.

        Args:
            kind: trials of one kind may be measured by one process.
            request: the first line that it reads.
            environment: its whole environment.
            python: the interpreter.

        Raises:
            OSError: no worker can be started.
        """
        worker = self._take(kind)
        if worker is None:
            worker = Worker(request, environment, python)
        else:
            worker.send(request)
        try:
            yield worker
        finally:
            if self.warm and worker.reusable:
                worker.reusable = False
                self._idle.setdefault(kind, []).append(worker)
            else:
                worker.close()

    def _take(self, kind: Hashable) -> Worker | None:
        """Return a living idle worker of this kind."""
        idle = self._idle.get(kind, [])
        while idle:
            worker = idle.pop()
            if not select.select([worker.exited], [], [], 0)[0]:
                return worker
            worker.close()
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for worker in itertools.chain(*self._idle.values()):
            worker.close()
        self._idle.clear()
