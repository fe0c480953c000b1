"""A page that is rebuilt when its stores change, with little load on the measured machine."""

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
# The pause is at least SHARE times the processor time of the last page. The first page does not
# count, because it loads libraries.
SHARE = 20


class Watched:
    """A page with the digest of its stores. Threads may share it.

    Args:
        look: returns the digest of the stores now.
        build: returns the page of this digest.
        clock: returns the time in seconds.
        work: returns the processor time of this thread in seconds.
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
        self._latest: tuple[str, bytes] | None = None  # digest and page
        self._not_before = 0.0

    def digest(self) -> str:
        """Return the digest of the page that ``page`` would return now."""
        latest, now = self._latest, self._look()
        return latest[0] if latest and self._clock() < self._not_before else now

    def page(self) -> bytes:
        """Return the page. One thread at a time builds a new page.

        Raises:
            HarnessError: a store cannot be read.
        """
        with self._lock:
            digest = self.digest()
            if self._latest is None or self._latest[0] != digest:
                began, share = self._work(), SHARE if self._latest else 0
                self._latest = digest, self._build(digest).encode("utf-8", "backslashreplace")
                pause = max(LEAST_SECONDS, share * (self._work() - began))
                self._not_before = self._clock() + pause
            return self._latest[1]


def digest_of(locations: Sequence[str]) -> str:
    """Return a digest that changes when a store gets a record or a run. Fast for any size.

    Raises:
        StoreError: a store cannot be read.
    """
    counts = []
    for location in locations:
        with Store.open(location, create=False) as store:
            counts.append(store.database.run(partial(_counts, store.version)))
    return hashlib.sha256(json.dumps(counts).encode()).hexdigest()[:16]


def _counts(version: int, connection: Connection) -> list[Any]:
    # The maxima of trial ids and times tell another store with the same counts apart.
    columns = [[records.c.record_id, records.c.trial_id], [runs.c.run_id, runs.c.started_at]]
    columns += [[reused.c.record_id]] if version >= WITH_IDENTITIES else []
    queries = [select(func.count(), *map(func.max, of_table)) for of_table in columns]
    return [version, *(list(connection.execute(query).one()) for query in queries)]
