"""The records that belong to runs, in a few columns: which launches of a trial a sweep need not measure again."""

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
    """A record as a launch of a run, its own or taken from an earlier one."""

    run_id: int
    record_id: int
    trial_id: str
    status: str
    started_at: str | None
    fingerprint: str | None  # None: stored without an identity
    closed: bool = False  # the run was begun to measure anew


@dataclass(frozen=True)
class TrialProgress:
    """How far a trial is.

    Attributes:
        ended: its launches that count: those since it was last measured anew.
        other: its latest record where none counts, because it was measured with something else;
            None: there is none.
    """

    ended: tuple[Member, ...] = ()
    other: Member | None = None


def membership(*, with_reused: bool, trial_ids: Sequence[str] | None = None) -> Subquery:
    """Return the rows (run_id, record_id) of records, of some trials or all: in its run, and in those that took it."""
    own = select(records.c.run_id, records.c.record_id)
    lent = select(reused.c.run_id, reused.c.record_id)
    if (
        trial_ids is not None
    ):  # here and not outside, where a database would make the whole union first
        own = own.where(records.c.trial_id.in_(trial_ids))
        lent = lent.join(records, records.c.record_id == reused.c.record_id).where(
            records.c.trial_id.in_(trial_ids)
        )
    return union_all(own, lent).subquery() if with_reused else own.subquery()


def members(connection: Connection, trial_id: str | None = None) -> dict[str, list[Member]]:
    """Return trial_id -> its members of all runs but the doctor's, the oldest first; of one trial where it is named."""
    of = membership(with_reused=True, trial_ids=None if trial_id is None else [trial_id])
    query = (
        select(of.c.run_id, records.c.record_id, records.c.trial_id, records.c.status, records.c.started_at,
               record_identities.c.fingerprint)
        .join(records, records.c.record_id == of.c.record_id)
        .join(runs, runs.c.run_id == of.c.run_id)
        .join(record_identities, record_identities.c.record_id == records.c.record_id, isouter=True)
        .where(runs.c.command != DOCTOR)
        .order_by(of.c.run_id, records.c.record_id)
    )  # fmt: skip
    settings = connection.execute(select(run_settings))
    closed = {row.run_id for row in settings if row.content.get("closed")}
    found: dict[str, list[Member]] = {}
    for row in connection.execute(query):
        found.setdefault(row.trial_id, []).append(Member(*row, closed=row.run_id in closed))
    return found


def trial_progress(
    found: Sequence[Member], fingerprint: str, only_run: int | None = None
) -> TrialProgress:
    """Return how far the trial of these members is.

    Args:
        found: the members of one trial, the oldest first.
        fingerprint: of what would be measured now.
        only_run: the run whose launches alone count; None: those of any.
    """
    known = [one for one in found if one.status != INTERRUPTED]
    right = [
        one for one in known if one.fingerprint == fingerprint and only_run in (None, one.run_id)
    ]
    if right:
        since = max((one.run_id for one in right if one.closed), default=0)
        ended = {one.record_id: one for one in right if one.run_id >= since}
        return TrialProgress(ended=tuple(ended.values()))
    return TrialProgress(other=known[-1] if known and only_run is None else None)


def progress_by_trial(
    found: Mapping[str, Sequence[Member]], wanted: Mapping[str, str], only_run: int | None = None
) -> dict[str, TrialProgress]:
    """Return trial_id -> how far it is, for each of ``wanted`` (trial_id -> fingerprint)."""
    return {
        name: trial_progress(found.get(name, ()), fingerprint, only_run)
        for name, fingerprint in wanted.items()
    }


def record_ids(found: Iterable[TrialProgress]) -> list[int]:
    """Return the ids of the records that count."""
    return [one.record_id for each in found for one in each.ended]
