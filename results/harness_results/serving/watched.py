"""A page that is made anew when its stores have changed, but takes little of the processor from what is measured."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, func, select

from harness_results.store.database.schema import WITH_IDENTITIES, records, reused, runs
from harness_results.store.store import Store

LEAST_SECONDS = 2.0  # between two pages
SHARE = 20  # ... and so many times the processor time that the last one took, but for the first, which loads libraries


class Watched:
    """A page and the digest of the stores that it was made of. Threads may share it.

    Args:
        look: returns the digest of the stores now.
        build: returns the page, given the digest.
        clock: in seconds.
        work: the seconds of processor time that this thread has taken.
    """

    def __init__(
        self,
        look: Callable[[], str],
        build: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
        work: Callable[[], float] = time.thread_time,
    ) -> None:
        self._look, self._build, self._clock, self._work = look, build, clock, work
        self._lock = threading.Lock()
        self._made: tuple[str, bytes] | None = None
        self._not_before = 0.0

    def digest(self) -> str:
        """Return the digest of the page that ``page`` would return now."""
        made, found = self._made, self._look()
        return made[0] if made and self._clock() < self._not_before else found

    def page(self) -> bytes:
        """Return the page; one thread at a time makes a new one.

        Raises:
            HarnessError: a store cannot be read.
        """
        with self._lock:
            digest = self.digest()
            if self._made is None or self._made[0] != digest:
                began, share = self._work(), SHARE if self._made else 0
                self._made = digest, self._build(digest).encode("utf-8", "backslashreplace")
                self._not_before = self._clock() + max(
                    LEAST_SECONDS, share * (self._work() - began)
                )
            return self._made[1]


def digest_of(locations: Sequence[str]) -> str:
    """Return what changes whenever a store has got a record or a run; quick for any size.

    Raises:
        StoreError: a store cannot be read.
    """
    found = []
    for location in locations:
        with Store.open(location, create=False) as store:
            found.append(store.database.run(partial(_counts, store.version)))
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


def _counts(version: int, connection: Connection) -> list[Any]:
    columns = [
        [records.c.record_id, records.c.trial_id],
        [runs.c.run_id, runs.c.started_at],
    ]  # of another store too
    columns += [[reused.c.record_id]] if version >= WITH_IDENTITIES else []
    queries = [select(func.count(), *map(func.max, of_table)) for of_table in columns]
    return [version, *(list(connection.execute(query).one()) for query in queries)]
