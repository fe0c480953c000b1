"""Compares a plan with the store: which launches are left. Nothing runs or is written here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.contract import Record, Trial
from harness.contract.records.identity import Identity, differences
from harness.contract.wording import are, counted, split_engine
from harness.execute.settings import LocalSettings
from harness.measure.machine.environment import machine_id
from harness.plan.naming import telling_apart
from harness.plugins import Plugins
from harness.sweep.identity import identities, plan_digest
from harness.sweep.rounds import in_rounds

if TYPE_CHECKING:
    from harness_results.store.ledger import Ledger, Mode
    from harness_results.store.members import Member, TrialProgress

NO_IDENTITY = "stored without the versions that they were measured with"


@dataclass(frozen=True)
class WorkPlan:
    """The launches of a plan that are left, and the records that the store has.

    Attributes:
        trials: of the plan.
        launches: of each trial, in all.
        order_seed: shuffles the launches.
        mode: which records of the store count.
        identities: trial_id -> what it would be measured with now.
        left: the launches to be measured, in their order.
        progress_by_trial: trial_id -> the launches that the store has.
        again: reason to measure a trial again although there are records -> number of trials.
        elsewhere: (engine that a backend chose, engine of the stored trial) -> number of trials.
    """

    trials: Sequence[Trial]
    launches: int
    order_seed: int
    mode: Mode
    identities: Mapping[str, Identity]
    left: Sequence[Trial]
    progress_by_trial: Mapping[str, TrialProgress]
    again: Mapping[str, int]
    elsewhere: Mapping[tuple[str, str], int] = field(default_factory=dict)

    @property
    def plan(self) -> str:
        """A digest of the trials and of what they are measured with."""
        return plan_digest(self.identities)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The settings that tell the trials apart in a line, besides those that every line has."""
        return telling_apart(self.trials)

    @property
    def wanted(self) -> dict[str, str]:
        """Trial_id -> fingerprint of what it would be measured with."""
        return {name: identity.fingerprint for name, identity in self.identities.items()}

    @property
    def record_ids(self) -> list[int]:
        """The records that the store has."""
        return [launch.record_id for launch in self._stored]

    @property
    def ended(self) -> list[str]:
        """The status of each launch that the store has."""
        return [launch.status for launch in self._stored]

    @property
    def _stored(self) -> list[Member]:
        return [launch for progress in self.progress_by_trial.values() for launch in progress.ended]

    def notes(self, store: str) -> Iterator[str]:
        """Yield what a user must know first: which records are reused, and why others are not."""
        for why, count in self.again.items():
            yield f"measured again: {why} ({counted(count, 'trial')})"
        for (engine, other), count in self.elsewhere.items():
            backend, trials = split_engine(engine)[0], counted(count, "trial")
            problem = f"-b {backend} is {engine} here, and {store} has {trials} as {other}"
            yield f"{problem}: to go on with {_it(count)}, name {other}"
        reused = len(self.ended)
        if not self.left:
            progress = [self.progress_by_trial[trial.trial_id] for trial in self.trials]
            done = sum(len(of_trial.ended) >= self.launches for of_trial in progress)
            all_are = f"all {counted(done, 'trial')} are"
            which = {1: "the trial is", 2: "both trials are"}.get(done, all_are)
            yield f"{which} in {store} from {self._when()}; --fresh measures {_it(done)} again"
        elif reused:
            launches = f"{reused} of {counted(reused + len(self.left), 'launch')} {are(reused)}"
            yield f"{launches} taken from {store}; --fresh measures all again"
        if failed := sum(status != "ok" for status in self.ended):
            yield f"{failed} of those did not end ok; --retry-failed measures {_it(failed)} again"

    def _when(self) -> str:
        """Return when the latest launch began, in local time: today's without the date."""
        starts = [launch.started_at for launch in self._stored if launch.started_at]
        if not starts:
            return "earlier"
        last = datetime.fromisoformat(max(starts)).astimezone()
        today = last.date() == datetime.now().astimezone().date()
        return f"{last:%H:%M}" if today else f"{last:%Y-%m-%d %H:%M}"


def _it(count: int) -> str:
    return "them" if count > 1 else "it"


def make_work_plan(
    ledger: Ledger | None,
    trials: Sequence[Trial],
    launches: int,
    order_seed: int,
    identities: Mapping[str, Identity],
    mode: Mode,
    chosen: Collection[str] = (),
) -> WorkPlan:
    """Return what is to be measured of these trials, given what the store has.

    Args:
        ledger: the store's; None: there is no store yet.
        trials: of the plan.
        launches: of each.
        order_seed: shuffles the launches.
        identities: trial_id -> what it would be measured with now.
        mode: which records count: all (``resume``), those with status ok (``retry_failed``), or
            none (``fresh``).
        chosen: backends that chose the variants of all their trials.
    """
    from harness_results.store.members import TrialProgress

    wanted = {name: identity.fingerprint for name, identity in identities.items()}
    again: Mapping[str, int] = {}
    elsewhere: Mapping[tuple[str, str], int] = {}
    if ledger is None:
        progress = dict.fromkeys(wanted, TrialProgress())
    else:
        progress = ledger.progress_by_trial(wanted, plan_digest(identities), mode)
        again = _again(ledger, progress, identities)
        elsewhere = _elsewhere(ledger, trials, chosen) if chosen else {}
    left = _left(in_rounds(trials, launches, order_seed), progress)
    return WorkPlan(
        trials, launches, order_seed, mode, identities, left, progress, again, elsewhere
    )


def look(
    store: str | Path,
    trials: Sequence[Trial],
    settings: LocalSettings,
    plugins: Plugins,
    *,
    launches: int = 1,
    order_seed: int = 0,
    mode: Mode = "resume",
    chosen: Collection[str] = (),
) -> WorkPlan:
    """Return the work plan of ``trials``; a store that does not exist is not made."""
    from harness_results.store.store import Store

    by_trial = identities(trials, plugins, settings)
    opened = Store.find(store)
    if opened is None:
        return make_work_plan(None, trials, launches, order_seed, by_trial, mode)
    with opened:
        ledger = opened.ledger
        work_plan = make_work_plan(ledger, trials, launches, order_seed, by_trial, mode, chosen)
        if ledger is not None or mode == "fresh":
            return work_plan
        stored = {record.trial.trial_id for record in opened.launches()}
    count = len(stored & by_trial.keys())
    return replace(work_plan, again={NO_IDENTITY: count}) if count else work_plan


def history(store: str | Path) -> list[tuple[Mapping[str, Any], float]]:
    """Return the trial and the wall seconds of launches that ended ``ok`` on this machine."""
    from harness_results.store.store import Store

    opened = Store.find(store)
    if opened is None:
        return []
    with opened:
        return opened.ledger.history(machine_id()) if opened.ledger else []


def in_order(trials: Sequence[Trial], records: Iterable[Record]) -> list[Record]:
    """Return the records of these trials in the order of the trials."""
    by_trial: dict[str, list[Record]] = {trial.trial_id: [] for trial in trials}
    for record in records:
        by_trial.get(record.trial.trial_id, []).append(record)
    return [record for trial in trials for record in by_trial[trial.trial_id]]


def _left(ordered: Sequence[Trial], progress: Mapping[str, TrialProgress]) -> list[Trial]:
    """Leave out the first launches of each trial, as many as the store has."""
    stored = Counter({name: len(of_trial.ended) for name, of_trial in progress.items()})
    left = []
    for trial in ordered:
        stored[trial.trial_id] -= 1
        if stored[trial.trial_id] < 0:
            left.append(trial)
    return left


def _again(
    ledger: Ledger, progress: Mapping[str, TrialProgress], identities: Mapping[str, Identity]
) -> dict[str, int]:
    """Return why trials that have records are measured again -> how many."""
    others = {
        name: of_trial.other
        for name, of_trial in progress.items()
        if of_trial.other and not of_trial.ended
    }
    fingerprints = (other.fingerprint for other in others.values() if other)
    facts = ledger.facts(filter(None, fingerprints))
    reasons = Counter[str]()
    for name, other in others.items():
        before = facts.get(other.fingerprint or "") if other else None
        reasons[NO_IDENTITY if before is None else differences(before, identities[name].facts)] += 1
    return dict(reasons)


def _elsewhere(
    ledger: Ledger, trials: Sequence[Trial], chosen: Collection[str]
) -> dict[tuple[str, str], int]:
    """Return (engine, other engine) -> how many trials the store has as that other variant only."""
    stored = ledger.engines()
    engines = sorted(set(stored.values()))
    counts = Counter[tuple[str, str]]()
    for trial in trials:
        if trial.backend not in chosen or trial.trial_id in stored:
            continue
        for backend, variant in engines:
            other = trial.model_copy(update={"variant": variant})
            if backend == trial.backend and other.trial_id in stored:
                counts[trial.engine, other.engine] += 1
    return dict(counts)
