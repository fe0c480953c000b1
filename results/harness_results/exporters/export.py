"""Exports a store to a folder in the form of another tool: from what the store holds, never while a trial is timed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from harness.contract.errors import UsageError
from harness_results.exporters.contract import SharedTrial, TrialExporter
from harness_results.exporters.conversion import shared
from harness_results.exporters.folder import replaced
from harness_results.store.store import Store
from harness_results.study.reported import each_reported


def export(store: Store, target: TrialExporter, home: Path, run_id: int | None = None) -> int:
    """Write what a report shows of all runs or one into the folder ``home``; return how many trials there were.

    Raises:
        UsageError: the folder holds something else or cannot be written; the store holds no record.
        StoreError: a record cannot be read; the folder is as it was.
    """
    count = 0

    def counted() -> Iterator[SharedTrial]:
        nonlocal count
        for of_trial in each_reported(store, run_id):
            for record in of_trial:
                count += 1
                yield shared(record, alone=len(of_trial) == 1)
        if not count:
            raise UsageError(
                f"store {store.name} holds no record: run something with `harness run`, or name another store"
            )

    digest = hashlib.sha256(
        store.database.canonical_name.encode("utf-8", "backslashreplace")
    ).hexdigest()[:12]
    form = type(target).__module__.rpartition(".")[2]
    with replaced(home, f"store {digest} to {form}") as folder:
        target.write(counted(), folder, home)
    return count
