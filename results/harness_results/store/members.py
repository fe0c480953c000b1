"""The members of runs: the records, own and reused, that a sweep need not measure again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Subquery, select, union_all

from harness_results.store.database.schema import (
    record_identities,
    records,
    reused,
    run_settings,
    runs,
)
from harness_results.store.runs import DOCTOR

INTERRUPTED = "interrupted"  # says nothing about a trial


@dataclass(frozen=True)
class Member:
    """A record as a launch of a run, measured by it or reused from an earlier run.

    Attributes:
        fingerprint: of what was measured; None: stored without an identity.
        closed: whether only the run's own launches count, because it was begun to measure anew.
    """

    run_id: int
    record_id: int
    trial_id: str
    status: str
    started_at: str | None
    fingerprint: str | None
    closed: bool = False


@dataclass(frozen=True)
class TrialProgress:
    """The launches of a trial that are stored.

    Attributes:
        ended: the launches that count: those since it was last measured anew.
        other: if none counts, its latest record, which was measured with other code or settings;
            None: there is no record.
    """

    ended: tuple[Member, ...] = ()
    other: Member | None = None


def membership(*, with_reused: bool, trial_ids: Sequence[str] | None = None) -> Subquery:
    """Return a row (run_id, record_id) for each record and each run to which it belongs.

    Args:
        with_reused: also for the runs that reuse the record; the store must have that table.
        trial_ids: the trials of the records; None: all.
    """
    own = select(records.c.run_id, records.c.record_id)
    lent = select(reused.c.run_id, reused.c.record_id)
    if trial_ids is not None:  # outside, a database would first make the whole union
        own = own.where(records.c.trial_id.in_(trial_ids))
        lent = lent.join(records, records.c.record_id == reused.c.record_id).where(
            records.c.trial_id.in_(trial_ids)
        )
    return union_all(own, lent).subquery() if with_reused else own.subquery()


def members(connection: Connection, trial_id: str | None = None) -> dict[str, list[Member]]:
    """Return trial_id -> its members, the oldest first, of all runs except the doctor's.

    Args:
        connection: to the store.
        trial_id: of the only trial; None: all trials.
    """
    of = membership(with_reused=True, trial_ids=None if trial_id is None else [trial_id])
    query = (
        select(of.c.run_id, records.c.record_id, records.c.trial_id, records.c.status,
               records.c.started_at, record_identities.c.fingerprint)
        .join(records, records.c.record_id == of.c.record_id)
        .join(runs, runs.c.run_id == of.c.run_id)
        .join(record_identities, record_identities.c.record_id == records.c.record_id, isouter=True)
        .where(runs.c.command != DOCTOR)
        .order_by(of.c.run_id, records.c.record_id)
    )  # fmt: skip
    settings = connection.execute(select(run_settings))
    closed = {row.run_id for row in settings if row.content.get("closed")}
    by_trial: dict[str, list[Member]] = {}
    for row in connection.execute(query):
        by_trial.setdefault(row.trial_id, []).append(Member(*row, closed=row.run_id in closed))
    return by_trial


def trial_progress(
    launches: Sequence[Member], fingerprint: str, only_run: int | None = None
) -> TrialProgress:
    """Return the progress of one trial.

    Args:
        launches: the members of the trial, the oldest first.
        fingerprint: of what would be measured now.
        only_run: the only run whose launches count; None: those of every run.
    """
    launches = [member for member in launches if member.status != INTERRUPTED]
    matches = [
        member
        for member in launches
        if member.fingerprint == fingerprint and only_run in (None, member.run_id)
    ]
    if matches:
        since = max((member.run_id for member in matches if member.closed), default=0)
        ended = {member.record_id: member for member in matches if member.run_id >= since}
        return TrialProgress(ended=tuple(ended.values()))
    return TrialProgress(other=launches[-1] if launches and only_run is None else None)


def progress_by_trial(
    by_trial: Mapping[str, Sequence[Member]], wanted: Mapping[str, str], only_run: int | None = None
) -> dict[str, TrialProgress]:
    """Return trial_id -> its progress, for each of ``wanted`` (trial_id -> fingerprint)."""
    return {
        trial_id: trial_progress(by_trial.get(trial_id, ()), fingerprint, only_run)
        for trial_id, fingerprint in wanted.items()
    }


def record_ids(progress: Iterable[TrialProgress]) -> list[int]:
    """Return the ids of the records that count."""
    return [member.record_id for trial in progress for member in trial.ended]
