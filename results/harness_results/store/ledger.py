"""What a sweep asks of a store and tells it: which launches are there, who has begun which, and what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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

Mode = Literal["resume", "retry_failed", "fresh"]
Wanted = Mapping[str, str]  # trial_id -> fingerprint of what would be measured now
Answer = Literal["mine", "done", "busy"]
IDS_AT_ONCE = 500
HISTORY = 2000  # launches that an estimate looks at
WANTED = "wanted"  # of a run's settings: the launches of its plan, in all


@dataclass(frozen=True)
class SweepHandle:
    """Where a sweep's records go: its run, and the row of its driver.

    ``closed``: only this run's own launches count, because it was begun to measure anew.
    """

    run_id: int
    driver_id: int
    closed: bool


class Ledger:
    """The sweeps' side of a store. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def progress_by_trial(self, wanted: Wanted, plan: str, mode: Mode) -> dict[str, TrialProgress]:
        """Return how far each trial is for a sweep of this plan; writes nothing."""

        def read(connection: Connection) -> dict[str, TrialProgress]:
            run = _continued(connection, plan, mode)
            return _progress(
                connection, wanted, mode, run.run_id if run and _is_closed(run) else None
            )

        return self._database.run(read)

    def engines(self) -> dict[str, tuple[str, str]]:
        """Return trial_id -> backend and variant of every trial."""
        table = schema.trials
        query = select(table.c.trial_id, table.c.backend, table.c.variant)
        return {
            row.trial_id: (row.backend, row.variant)
            for row in self._database.run(lambda c: c.execute(query).all())
        }

    def facts(self, fingerprints: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return fingerprint -> facts of those that are known."""
        wanted, table = set(fingerprints), schema.identities
        found = self._database.run(lambda c: c.execute(select(table)).all()) if wanted else []
        return {row.fingerprint: row.facts for row in found if row.fingerprint in wanted}

    def join(
        self, command: str, settings: Mapping[str, Any], wanted: Wanted, mode: Mode
    ) -> SweepHandle:
        """Go on with the last run where it is of the same plan (``settings["plan"]``), or begin one.

        The launches of earlier runs that count for it are taken into it.
        """

        def work(connection: Connection) -> SweepHandle:
            self._database.lock_schema(
                connection
            )  # of two sweeps that begin at once one begins the run
            drivers.reap_dead_drivers(connection)
            run = _continued(connection, str(settings["plan"]), mode)
            closed = mode != "resume" if run is None else _is_closed(run)
            found = _progress(connection, wanted, mode, run.run_id if run and closed else None)
            plan = {**settings, "closed": closed, WANTED: len(wanted) * int(settings["launches"])}
            run_id = begin_run(connection, command, plan) if run is None else run.run_id
            if run is not None:
                _raise_launches(connection, run, plan)
            _reuse(connection, run_id, record_ids(found.values()))
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
        """Begin a launch unless it is there (``done``, and then taken) or another driver has begun it (``busy``)."""

        def work(connection: Connection) -> Answer:
            drivers.report(connection, handle.driver_id, progress)
            scope = f"run {handle.run_id}" if handle.closed else fingerprint
            begun = _begun(connection, scope, trial_id)
            known = members(connection, trial_id).get(trial_id, [])
            ended = trial_progress(
                known, fingerprint, handle.run_id if handle.closed else None
            ).ended
            _reuse(connection, handle.run_id, [one.record_id for one in ended])
            if len(ended) >= launches:
                return "done"
            if (done := len(ended)) + len(begun) >= launches:
                return "busy"
            slot = next(n for n in range(done + 1, done + len(begun) + 2) if n not in begun)
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
        """Store a record with its identity and give its claim back; when this returns, it survives a crash."""
        packed = rows.pack(record)

        def work(connection: Connection) -> None:
            record_id = rows.insert_record(connection, packed, handle.run_id)
            if identity is not None:
                _identify(connection, record_id, identity)
            _give_back(connection, handle, record.trial.trial_id)
            drivers.report(connection, handle.driver_id, progress)

        self._database.run(work, write=True)

    def heartbeat(self, handle: SweepHandle, progress: Mapping[str, Any]) -> None:
        """Say that the driver is alive."""
        self._database.run(lambda c: drivers.report(c, handle.driver_id, progress), write=True)

    def leave(self, handle: SweepHandle) -> None:
        """Say that the driver has ended."""
        self._database.run(lambda c: drivers.leave(c, handle.driver_id), write=True)

    def drivers(self) -> list[drivers.Driver]:
        """Return who measures now, or was killed while it did."""
        return self._database.run(drivers.read_drivers)

    def history(self, environment_id: str) -> list[tuple[Mapping[str, Any], float]]:
        """Return trial and wall seconds of the latest launches that ended ``ok`` in this environment."""
        records, trials = schema.records, schema.trials
        query = (
            select(trials.c.content, records.c.details)
            .join(trials, trials.c.trial_id == records.c.trial_id)
            .where(records.c.status == "ok", records.c.environment_id == environment_id)
            .order_by(records.c.record_id.desc())
            .limit(HISTORY)
        )
        found = self._database.run(lambda connection: connection.execute(query).all())
        pairs = [
            (row.content, row.details.get("wall_seconds"))
            for row in found
            if isinstance(row.details, dict)
        ]
        return [
            (content, float(seconds))
            for content, seconds in pairs
            if isinstance(seconds, int | float)
        ]

    def read(self, record_ids: Sequence[int], *, with_curves: bool = False) -> list[Record]:
        """Return the records of these ids, in the order in which they were stored."""

        def work(connection: Connection) -> list[Record]:
            found: list[Record] = []
            for start in range(0, len(record_ids), IDS_AT_ONCE):
                some = record_ids[start : start + IDS_AT_ONCE]
                wanted = select(schema.records.c.record_id).where(
                    schema.records.c.record_id.in_(some)
                )
                found += [
                    one.record
                    for one in rows.read_launches(connection, wanted, with_curves=with_curves)
                ]
            return found

        return self._database.run(work)


def _progress(
    connection: Connection, wanted: Wanted, mode: Mode, only_run: int | None
) -> dict[str, TrialProgress]:
    """Return how far each trial is; of what is to be measured anew only what a retry need not."""
    if mode == "fresh":
        return dict.fromkeys(wanted, TrialProgress())
    found = progress_by_trial(members(connection), wanted, only_run)
    if mode == "resume":
        return found
    kept = {name: tuple(m for m in one.ended if m.status == "ok") for name, one in found.items()}
    return {name: TrialProgress(ended, found[name].other) for name, ended in kept.items()}


def _continued(connection: Connection, plan: str, mode: Mode) -> Run | None:
    """Return the last run, the doctor's left aside, if it is of this plan and there is no reason to begin another."""
    known = [run for run in read_runs(connection, with_settings=True) if not run.is_of_doctor]
    same = mode == "resume" and known and known[-1].settings.get("plan") == plan
    return known[-1] if same else None


def _is_closed(run: Run) -> bool:
    return bool(run.settings.get("closed"))


def _raise_launches(connection: Connection, run: Run, plan: Mapping[str, Any]) -> None:
    table = schema.run_settings
    content = connection.execute(
        select(table.c.content).where(table.c.run_id == run.run_id)
    ).scalar_one()
    if plan["launches"] > int(content.get("launches", 1)):
        content = {**content, "launches": plan["launches"], WANTED: plan[WANTED]}
        connection.execute(
            update(table).where(table.c.run_id == run.run_id).values(content=content)
        )


def _reuse(connection: Connection, run_id: int, wanted: Sequence[int]) -> None:
    """Make launches of other runs launches of this one too."""
    table = schema.reused
    for start in range(0, len(wanted), IDS_AT_ONCE):
        some = wanted[start : start + IDS_AT_ONCE]
        here = [
            (each.c.run_id == run_id) & each.c.record_id.in_(some)
            for each in (table, schema.records)
        ]
        known = union_all(
            select(table.c.record_id).where(here[0]),
            select(schema.records.c.record_id).where(here[1]),
        )
        skipped = set(connection.scalars(known))
        new = [{"run_id": run_id, "record_id": one} for one in some if one not in skipped]
        if new:
            connection.execute(insert(table), new)


def _begun(connection: Connection, scope: str, trial_id: str) -> set[int]:
    """Return the slots of launches that living drivers have begun; what the others began is forgotten."""
    drivers.reap_dead_drivers(connection)
    table = schema.claims
    return set(
        connection.scalars(
            select(table.c.slot).where(table.c.scope == scope, table.c.trial_id == trial_id)
        )
    )


def _give_back(connection: Connection, handle: SweepHandle, trial_id: str) -> None:
    table = schema.claims
    mine = (table.c.driver_id == handle.driver_id) & (table.c.trial_id == trial_id)
    slot = connection.scalar(select(table.c.slot).where(mine).order_by(table.c.slot))
    connection.execute(delete(table).where(mine, table.c.slot == slot))


def _identify(connection: Connection, record_id: int, identity: Identity) -> None:
    table = schema.identities
    known = {"fingerprint": identity.fingerprint, "facts": dict(identity.facts)}
    insert_new(connection, table, [known])
    row = {"record_id": record_id, "fingerprint": identity.fingerprint}
    connection.execute(insert(schema.record_identities).values(row))
