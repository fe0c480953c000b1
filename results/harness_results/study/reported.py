"""What a report shows of a store, with curves, read some trials at a time."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import chain, groupby
from typing import Any

from sqlalchemy import Connection, func, select

from harness.contract.records.explosion import is_exploding
from harness.contract.records.record import Record
from harness_results.store.database.schema import records
from harness_results.store.members import membership
from harness_results.store.packed import Spool
from harness_results.store.runs import ORDER
from harness_results.store.store import Store
from harness_results.study.launches import in_order, of_each_environment, were_shuffled
from harness_results.study.verdicts.floors import Floor, measured_floors

TRIALS = 200  # at a time: each reading is a short transaction
# Details that `harness show` has, and no table, chart or page.
NOT_IN_REPORTS = (
    "parity", "versions", "placement", "block_tokens_per_second", "limits", "affinity",
    "calibrations", "distribution", "warm_up", "effective_threads", "recompilations",
)  # fmt: skip
SHARED = {"task", "task_defaults", "criterion"}  # details that thousands of trials have alike


def each_reported(store: Store, run_id: int | None = None) -> Iterator[list[Record]]:
    """Yield the records of each trial that a report shows, one for each environment.

    Raises:
        StoreError: a record cannot be read.
    """
    for runs in _portions(store, run_id):
        for _, of_trial in groupby(
            of_each_environment(runs), key=lambda record: record.trial.trial_id
        ):
            yield list(of_trial)


def reported(store: Store, run_id: int | None = None, without: Container[str] = ()) -> list[Record]:
    """Return all that a report shows, with curves, in its order.

    Args:
        store: the store.
        run_id: of the only run; None: all runs.
        without: names of details to leave out.

    Raises:
        StoreError: a record cannot be read.
    """
    records_shown: list[Record] = []
    shuffled, spool = False, Spool()
    alike: dict[str, Any] = {}
    for runs in _portions(store, run_id, spool):
        for record in map(_judged, of_each_environment(runs)):
            details = {k: value for k, value in record.details.items() if k not in without}
            for name in SHARED & details.keys():
                details[name] = alike.setdefault(repr(details[name]), details[name])
            records_shown.append(replace(record, details=details))
        shuffled = shuffled or any(map(were_shuffled, runs))
    ordered = in_plan_order(in_order(records_shown, shuffled=shuffled), store, run_id)
    return with_floors(ordered, store)


def in_plan_order(
    records: Sequence[Record], store: Store, run_id: int | None = None
) -> Sequence[Record]:
    """Return the records in the order of the plans of their runs, the oldest first.

    Those of runs that store no order come first, and keep theirs.
    """
    runs = [run for run in store.runs() if run_id in (None, run.run_id)]
    trial_ids = chain.from_iterable(run.settings.get(ORDER, ()) for run in runs)
    order = {trial_id: n for n, trial_id in enumerate(dict.fromkeys(trial_ids))}
    return sorted(records, key=lambda record: order.get(record.trial.trial_id, -1))


def with_floors(records: Sequence[Record], store: Store) -> list[Record]:
    """Return the records, one per trial and environment, with the noise floors of the store."""
    calibrations = store.all_calibrations()
    floors: dict[tuple[str, int], dict[str, Floor]] = {}
    with_floor = []
    for record in records:
        key = environment_id, launches = record.environment_id or "", record.launches
        if key not in floors:
            floors[key] = measured_floors(calibrations.get(environment_id, {}), launches)
        floor = floors[key].get(record.trial.engine) or floors[key].get("*")
        if floor is not None:
            record = replace(record, details={**record.details, "noise_floor": asdict(floor)})  # noqa: PLW2901
        with_floor.append(record)
    return with_floor


def _judged(record: Record) -> Record:
    """Return the record with its ``gradient_exploding``; older records need their curves for it."""
    if isinstance(record.details.get("gradient_exploding"), bool):
        return record
    curves = {name: record.curves.get(name) for name in ("gradient_norm", "gradient_flow")}
    exploding = is_exploding(record.status, record.figures, curves)
    if exploding is None:
        return record
    return replace(record, details={**record.details, "gradient_exploding": exploding})


def _portions(
    store: Store, run_id: int | None, spool: Spool | None = None
) -> Iterator[list[list[Record]]]:
    """Yield the launches of some trials, by run, then those of some more.

    Args:
        store: the store.
        run_id: of the only run; None: all runs.
        spool: keeps the curves of all; None: each portion has one of its own.
    """
    trial_ids = store.database.run(lambda connection: _trial_ids(store, connection, run_id))
    for start in range(0, len(trial_ids), TRIALS):
        yield _runs(store, trial_ids[start : start + TRIALS], run_id, spool or Spool())


def _trial_ids(store: Store, connection: Connection, run_id: int | None) -> list[str]:
    """Return the trials in the order in which they first ended."""
    of = membership(with_reused=store.ledger is not None)
    query = select(records.c.trial_id).join(of, of.c.record_id == records.c.record_id)
    wanted = query if run_id is None else query.where(of.c.run_id == run_id)
    return list(
        connection.scalars(
            wanted.group_by(records.c.trial_id).order_by(func.min(records.c.record_id))
        )
    )


def _runs(
    store: Store, trial_ids: Sequence[str], run_id: int | None, spool: Spool
) -> list[list[Record]]:
    """Return the launches of these trials by run, the oldest first."""
    of = membership(with_reused=store.ledger is not None, trial_ids=trial_ids)
    wanted = select(of.c.run_id, of.c.record_id).order_by(of.c.run_id, of.c.record_id)
    wanted = wanted if run_id is None else wanted.where(of.c.run_id == run_id)
    members = store.database.run(lambda connection: connection.execute(wanted).all())
    ids = select(wanted.subquery().c.record_id)
    by_id = {
        stored.record_id: stored.record for stored in store.read(ids, with_curves=True, spool=spool)
    }
    runs: dict[int, list[Record]] = {}
    for member in members:
        if member.record_id in by_id:
            runs.setdefault(member.run_id, []).append(by_id[member.record_id])
    return list(runs.values())
