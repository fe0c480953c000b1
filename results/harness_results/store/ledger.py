"""A sweep's access to a store: which launches are stored, who measures which, and the results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import Connection, delete, insert, select, union_all, update

from harness.contract.records.identity import Identity
from harness.contract.records.record import Record
from harness_results.store import drivers, rows
from harness_results.store.database import schema
from harness_results.store.database.base import Database
from harness_results.store.database.upsert import insert_new
from harness_results.store.members import (
    TrialProgress,
    members,
    progress_by_trial,
    record_ids,
    trial_progress,
)
from harness_results.store.runs import Run, begin_run, read_runs
from harness_results.text.format import as_mapping

Mode = Literal["resume", "retry_failed", "fresh"]
Wanted = Mapping[str, str]  # trial_id -> fingerprint of what would be measured now
Answer = Literal["mine", "done", "busy"]
IDS_AT_ONCE = 500  # in one query
HISTORY = 2000  # launches that an estimate of the time looks at
WANTED = "wanted"  # key of a run's settings: the number of launches in its plan


@dataclass(frozen=True)
class SweepHandle:
    """What a sweep needs to store its records: its run, and the row of its driver.

    Attributes:
        closed: whether only this run's own launches count, because it was begun to measure anew.
    """

    run_id: int
    driver_id: int
    closed: bool


class Ledger:
    """The methods of a store that sweeps use. Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def progress_by_trial(self, wanted: Wanted, plan: str, mode: Mode) -> dict[str, TrialProgress]:
        """Return trial_id -> its progress for a sweep of this plan; writes nothing."""

        def read(connection: Connection) -> dict[str, TrialProgress]:
            run = _continued(connection, plan, mode)
            only_run = run.run_id if run and _is_closed(run) else None
            return _progress(connection, wanted, mode, only_run)

        return self._database.run(read)

    def engines(self) -> dict[str, tuple[str, str]]:
        """Return trial_id -> backend and variant of every trial."""
        table = schema.trials
        query = select(table.c.trial_id, table.c.backend, table.c.variant)
        stored = self._database.run(lambda c: c.execute(query).all())
        return {row.trial_id: (row.backend, row.variant) for row in stored}

    def facts(self, fingerprints: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return fingerprint -> its facts, for those that the store has."""
        wanted, table = set(fingerprints), schema.identities
        stored = self._database.run(lambda c: c.execute(select(table)).all()) if wanted else []
        return {row.fingerprint: row.facts for row in stored if row.fingerprint in wanted}

    def join(
        self, command: str, settings: Mapping[str, Any], wanted: Wanted, mode: Mode
    ) -> SweepHandle:
        """Continue the last run if it has the same plan (``settings["plan"]``), or begin a run.

        The launches of earlier runs that count for it become launches of this run too.
        """

        def work(connection: Connection) -> SweepHandle:
            self._database.lock_schema(connection)  # two sweeps that begin at once share one run
            drivers.reap_dead_drivers(connection)
            run = _continued(connection, str(settings["plan"]), mode)
            closed = mode != "resume" if run is None else _is_closed(run)
            progress = _progress(connection, wanted, mode, run.run_id if run and closed else None)
            plan = {**settings, "closed": closed, WANTED: len(wanted) * int(settings["launches"])}
            if run is None:
                run_id = begin_run(connection, command, plan)
            else:
                run_id = run.run_id
                _raise_launches(connection, run, plan)
            _reuse(connection, run_id, record_ids(progress.values()))
            return SweepHandle(run_id, drivers.enter(connection, run_id, {}), closed)

        return self._database.run(work, write=True)

    def claim(
        self,
        handle: SweepHandle,
        trial_id: str,
        fingerprint: str,
        launches: int,
        progress: Mapping[str, Any],
    ) -> Answer:
        """Claim the next launch of a trial.

        Args:
            handle: of the sweep.
            trial_id: of the trial.
            fingerprint: of what would be measured now.
            launches: how many the trial is to have.
            progress: of the sweep, stored with its driver.

        Returns:
            ``mine``: this sweep measures it. ``done``: all launches are stored, and belong to this
            run now. ``busy``: other drivers measure what is missing.
        """

        def work(connection: Connection) -> Answer:
            drivers.report(connection, handle.driver_id, progress)
            drivers.reap_dead_drivers(connection)
            scope = f"run {handle.run_id}" if handle.closed else fingerprint
            only_run = handle.run_id if handle.closed else None
            claimed = _claimed(connection, scope, trial_id)
            stored = members(connection, trial_id).get(trial_id, [])
            ended = trial_progress(stored, fingerprint, only_run).ended
            _reuse(connection, handle.run_id, [member.record_id for member in ended])
            if len(ended) >= launches:
                return "done"
            if len(ended) + len(claimed) >= launches:
                return "busy"
            slot = len(ended) + 1
            while slot in claimed:
                slot += 1
            row = {
                "scope": scope,
                "trial_id": trial_id,
                "slot": slot,
                "driver_id": handle.driver_id,
            }
            connection.execute(insert(schema.claims).values(row))
            return "mine"

        return self._database.run(work, write=True)

    def add(
        self,
        handle: SweepHandle,
        record: Record,
        identity: Identity | None,
        progress: Mapping[str, Any],
    ) -> None:
        """Store a record with its identity and release its claim.

        When this returns, the record survives a crash.
        """
        packed = rows.pack(record)

        def work(connection: Connection) -> None:
            record_id = rows.insert_record(connection, packed, handle.run_id)
            if identity is not None:
                _identify(connection, record_id, identity)
            _release(connection, handle, record.trial.trial_id)
            drivers.report(connection, handle.driver_id, progress)

        self._database.run(work, write=True)

    def heartbeat(self, handle: SweepHandle, progress: Mapping[str, Any]) -> None:
        """Store the progress of the driver, and that it is alive."""
        self._database.run(lambda c: drivers.report(c, handle.driver_id, progress), write=True)

    def leave(self, handle: SweepHandle) -> None:
        """Delete the driver, which has ended."""
        self._database.run(lambda c: drivers.leave(c, handle.driver_id), write=True)

    def drivers(self) -> list[drivers.Driver]:
        """Return the processes that measure now, or that were killed while they measured."""
        return self._database.run(drivers.read_drivers)

    def history(self, environment_id: str) -> list[tuple[Mapping[str, Any], float]]:
        """Return (content of the trial, wall seconds) of the latest launches that ended ``ok``.

        Args:
            environment_id: where they ran.
        """
        records, trials = schema.records, schema.trials
        query = (
            select(trials.c.content, records.c.details)
            .join(trials, trials.c.trial_id == records.c.trial_id)
            .where(records.c.status == "ok", records.c.environment_id == environment_id)
            .order_by(records.c.record_id.desc())
            .limit(HISTORY)
        )
        pairs = []
        for content, details in self._database.run(lambda c: c.execute(query).all()):
            launch = as_mapping(details)
            seconds = None if "continued_from" in launch else launch.get("wall_seconds")
            if isinstance(seconds, int | float):
                pairs.append((content, float(seconds)))
        return pairs

    def read(self, record_ids: Sequence[int], *, with_curves: bool = False) -> list[Record]:
        """Return the records of these ids, in the order in which they were stored."""

        def work(connection: Connection) -> list[Record]:
            launches: list[rows.Launch] = []
            for ids in _in_parts(record_ids):
                wanted = select(schema.records.c.record_id).where(
                    schema.records.c.record_id.in_(ids)
                )
                launches += rows.read_launches(connection, wanted, with_curves=with_curves)
            return [launch.record for launch in launches]

        return self._database.run(work)


def _in_parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), IDS_AT_ONCE):
        yield ids[start : start + IDS_AT_ONCE]


def _progress(
    connection: Connection, wanted: Wanted, mode: Mode, only_run: int | None
) -> dict[str, TrialProgress]:
    """Return trial_id -> its progress; a retry ignores failed launches, a fresh sweep all."""
    if mode == "fresh":
        return dict.fromkeys(wanted, TrialProgress())
    progress = progress_by_trial(members(connection), wanted, only_run)
    if mode == "resume":
        return progress
    return {
        trial_id: replace(trial, ended=tuple(m for m in trial.ended if m.status == "ok"))
        for trial_id, trial in progress.items()
    }


def _continued(connection: Connection, plan: str, mode: Mode) -> Run | None:
    """Return the last run, except the doctor's, if this sweep continues it; None: a new run."""
    runs = [run for run in read_runs(connection, with_settings=True) if not run.is_of_doctor]
    is_same = mode == "resume" and runs and runs[-1].settings.get("plan") == plan
    return runs[-1] if is_same else None


def _is_closed(run: Run) -> bool:
    return bool(run.settings.get("closed"))


def _raise_launches(connection: Connection, run: Run, plan: Mapping[str, Any]) -> None:
    table = schema.run_settings
    mine = table.c.run_id == run.run_id
    content = connection.execute(select(table.c.content).where(mine)).scalar_one()
    if plan["launches"] > int(content.get("launches", 1)):
        content = {**content, "launches": plan["launches"], WANTED: plan[WANTED]}
        connection.execute(update(table).where(mine).values(content=content))


def _reuse(connection: Connection, run_id: int, record_ids: Sequence[int]) -> None:
    """Make launches of other runs launches of this run too."""
    for ids in _in_parts(record_ids):
        present = union_all(
            *(
                select(table.c.record_id).where(
                    table.c.run_id == run_id, table.c.record_id.in_(ids)
                )
                for table in (schema.reused, schema.records)
            )
        )
        missing = set(ids) - set(connection.scalars(present))
        new = [{"run_id": run_id, "record_id": each} for each in ids if each in missing]
        if new:
            connection.execute(insert(schema.reused), new)


def _claimed(connection: Connection, scope: str, trial_id: str) -> set[int]:
    """Return the slots of the trial's launches that drivers have claimed."""
    table = schema.claims
    query = select(table.c.slot).where(table.c.scope == scope, table.c.trial_id == trial_id)
    return set(connection.scalars(query))


def _release(connection: Connection, handle: SweepHandle, trial_id: str) -> None:
    table = schema.claims
    mine = (table.c.driver_id == handle.driver_id) & (table.c.trial_id == trial_id)
    slot = connection.scalar(select(table.c.slot).where(mine).order_by(table.c.slot))
    connection.execute(delete(table).where(mine, table.c.slot == slot))


def _identify(connection: Connection, record_id: int, identity: Identity) -> None:
    table = schema.identities
    content = {"fingerprint": identity.fingerprint, "facts": dict(identity.facts)}
    insert_new(connection, table, [content])
    row = {"record_id": record_id, "fingerprint": identity.fingerprint}
    connection.execute(insert(schema.record_identities).values(row))
