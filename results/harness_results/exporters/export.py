"""Exports the records of a store to a folder in the format of another tool."""

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
    """Write the trials that a report shows into the folder ``home``; return their number.

    Args:
        store: whose records are exported.
        target: writes the trials.
        home: made if it is missing; an earlier export of this store to this target is replaced.
        run_id: of the only run; None: all runs.

    Raises:
        UsageError: the folder holds something else or cannot be written; the store has no record.
        StoreError: a record cannot be read; the folder is unchanged.
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
                f"store {store.name} holds no record: run something with `harness run`, "
                "or name another store"
            )

    name = store.database.canonical_name.encode("utf-8", "backslashreplace")
    tool = type(target).__module__.rpartition(".")[2]
    with replaced(home, f"store {hashlib.sha256(name).hexdigest()[:12]} to {tool}") as folder:
        target.write(counted(), folder, home)
    return count
