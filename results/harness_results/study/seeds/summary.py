"""The seeds of a network as one record: medians, as launches are for speed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median, median_low
from typing import Any

from harness.contract.records.columns import FIGURES
from harness.contract.records.evaluated import Evaluated, at_lengths, evaluated
from harness.contract.records.probed import PROBES, Probed, probed
from harness.contract.records.record import Figure, Record, finite
from harness.contract.wording import counted
from harness_results.study import findings
from harness_results.study.launches import launch_figures, merged, throughput_of
from harness_results.study.seeds.statistics import proportion_interval, spread, survival_median
from harness_results.study.verdicts.order import each_launch
from harness_results.text.format import one_line

# Figures of the outcome of training: a seed that did not end well has the worst one.
OUTCOMES = ("loss_final", "loss_validation", "loss_ratio", "accuracy")
WORST = ("parity_error", "parity_tolerance")  # of the seeds, instead of their median


@dataclass(frozen=True)
class SeedSummary(Record):
    """Several seeds of one network, task, length and engine as one record.

    The figures are medians. A seed that did not end well counts as the worst loss, and as not
    solved. If the median is such a seed, the record has its status. ``trial``, ``details`` and
    ``curves`` are those of the seed with the median loss.

    Attributes:
        members: a record for each seed, by ascending seed; interrupted ones have no outcome.
    """

    members: tuple[Record, ...] = ()

    @cached_property
    def outcomes(self) -> tuple[Record, ...]:
        """The members that were not interrupted; all if every one was."""
        return outcomes_of(self)

    @property
    def losses(self) -> list[float]:
        """The final validation loss of each outcome; infinite if it did not end well."""
        return [loss_of(record) for record in self.outcomes]

    @property
    def loss_spread(self) -> tuple[float, float]:
        """The range of the losses of up to four seeds, else their quartiles."""
        return spread(self.losses)

    @cached_property
    def solved(self) -> tuple[int, int] | None:
        """How many outcomes solved the task, and of how many; None without a criterion."""
        return solved_of(self)

    def columns(self) -> dict[str, Any]:
        """Return the columns of a record; those that belong to one seed are None."""
        of_seed = dict.fromkeys(("trial_id", "seed", "started_at"))
        return super().columns() | of_seed

    def seconds_to_solve(self) -> float | None:
        """Return the median over seeds; None if fewer than half of them solve the task."""
        return seconds_to_solve(self)[0]

    def seeds_to_json(self) -> dict[str, Any]:
        """Return what the figures are medians of, as JSON-able values."""
        low, high = self.loss_spread
        content: dict[str, Any] = {
            "trial_ids": [record.trial.trial_id for record in self.members],
            "seeds": [record.trial.seed for record in self.members],
            "statuses": [record.status for record in self.members],
            "losses": [record.figures.get("loss_validation") for record in self.members],
            "loss_low": low,
            "loss_high": high,
        }
        if self.solved is not None:
            low, high = proportion_interval(*self.solved)
            count, total = self.solved
            content |= {"solved": count, "of": total, "solved_low": low, "solved_high": high}
        if self.trial.evaluate_at:
            content["solved_at_every_length"] = solved_everywhere(self)[0]
        return {name: finite(value) for name, value in content.items()}


def over_seeds(records: Iterable[Record]) -> list[Record]:
    """Return one record per network, task, length, engine and environment.

    Records that differ only in their seed become a ``SeedSummary``, in the place of the first.
    Others are returned as they are, as are records in which a seed occurs twice.
    """
    groups: dict[str, dict[str | None, list[Record]]] = {}
    for record in records:
        environments = groups.setdefault(_network(record), {})
        environments.setdefault(record.environment_id, []).append(record)
    summaries: list[Record] = []
    for environments in groups.values():
        for group in _with_lost(environments):
            seeds = _seeds(group)
            summaries += [_summary(group)] if 1 < len(seeds) == len(group) else group
    return summaries


def _with_lost(environments: dict[str | None, list[Record]]) -> Iterable[list[Record]]:
    """Return the groups; a seed that failed before its environment was known joins another."""
    lost = environments.get(None, [])
    others = [group for name, group in environments.items() if name is not None]
    for record in list(lost):
        group = next((each for each in others if record.trial.seed not in _seeds(each)), None)
        if group is not None:
            lost.remove(record)
            group.append(record)
    return environments.values()


def _seeds(records: Iterable[Record]) -> set[int]:
    return {record.trial.seed for record in records}


def members_of(record: Record) -> tuple[Record, ...]:
    """Return the record of each seed; of a record of one seed, itself."""
    return record.members if isinstance(record, SeedSummary) else (record,)


def outcomes_of(record: Record) -> tuple[Record, ...]:
    """Return the record of each seed that was not interrupted; all if every one was."""
    members = members_of(record)
    return tuple(member for member in members if member.status != "interrupted") or members


def each_seed(records: Iterable[Record]) -> list[Record]:
    """Return the record of each seed of these records."""
    return [member for record in records for member in members_of(record)]


def loss_of(record: Record) -> float:
    """Return the final validation loss; infinite if the trial did not end well."""
    loss = record.figures.get("loss_validation")
    return math.inf if loss is None or record.status != "ok" else float(loss)


def solved_of(record: Record) -> tuple[int, int] | None:
    """Return how many seeds solved the task, and of how many; None without a criterion."""
    outcomes = outcomes_of(record)
    if all(each.figures.get("solved") is None for each in outcomes):
        return None
    return sum(_has_solved(each) for each in outcomes), len(outcomes)


def solved_everywhere(record: Record) -> tuple[int, int]:
    """Return how many seeds solve the task at every length, and of how many."""
    outcomes = outcomes_of(record)
    return sum(map(_is_solved_everywhere, outcomes)), len(outcomes)


def _is_solved_everywhere(record: Record) -> bool:
    judged = at_lengths(record)
    return record.status == "ok" and bool(judged) and all(each.solved for each in judged)


def steps_to_solve(record: Record) -> tuple[float | None, float]:
    """Return the median number of steps to solve the task over seeds, and the steps of all seeds.

    The median is None if fewer than half of the seeds solve it. The second is a number of steps
    that every seed was to train: the fewest, if some lost patience.
    """
    outcomes = outcomes_of(record)
    times = [float(each.figures.get("steps_to_solve") or math.inf) for each in outcomes]
    fewest = min(each.trained_steps() for each in outcomes)
    return survival_median(times, list(map(math.isfinite, times))), fewest


def seconds_to_solve(record: Record) -> tuple[float | None, float | None]:
    """Return the median seconds of training until the task is solved, and those of all steps.

    The first is None if fewer than half of the seeds solve the task; the second, a median too, if
    no seed has a speed.
    """
    outcomes = outcomes_of(record)
    seconds = [each.seconds_to_solve() for each in outcomes]
    limits = [each.training_seconds() for each in outcomes]
    trained = [limit for limit in limits if limit is not None]
    times = [math.inf if time is None else time for time in seconds]
    is_solved = [time is not None for time in seconds]
    return survival_median(times, is_solved), median(trained) if trained else None


def failures_of(outcomes: Sequence[Record]) -> list[str]:
    """Return for each bad status how many seeds ended with it, and the reason of the first."""
    failed: dict[str, list[Record]] = {}
    for each in outcomes:
        if each.status != "ok":
            failed.setdefault(each.status, []).append(each)
    return [
        f"{len(group)} of {counted(len(outcomes), 'seed')} {status.replace('_', ' ')}: "
        f"{one_line(group[0].reason or 'no reason was given')}"
        for status, group in failed.items()
    ]


def _has_solved(record: Record) -> bool:
    return record.status == "ok" and bool(record.figures.get("solved"))


def _network(record: Record) -> str:
    """Return a text that is equal for trials that differ only in their seed."""
    return json.dumps(record.trial.content() | {"seed": None}, sort_keys=True)


def _summary(group: Sequence[Record]) -> SeedSummary:
    members = tuple(sorted(group, key=lambda record: record.trial.seed))
    outcomes = tuple(member for member in members if member.status != "interrupted") or members
    by_loss = sorted(outcomes, key=loss_of)
    middle = median(map(loss_of, outcomes))
    # if half of the seeds failed, the upper one of the two in the middle is a failed one
    index = len(by_loss) // 2 if math.isinf(middle) else (len(by_loss) - 1) // 2
    first, ok = by_loss[index], [record for record in outcomes if record.status == "ok"]
    launches = [launch for record in ok for launch in each_launch(record)]
    speed, kind = throughput_of(launches)
    figures = {column.name: _figure(column.name, outcomes) for column in FIGURES}
    return SeedSummary(
        trial=first.trial,
        status=first.status,
        reason="; ".join(failures_of(outcomes)) or None if first.status != "ok" else None,
        figures={**figures, **speed, **_horizon(ok)},
        curves=first.curves,
        details={
            **first.details,
            **_details(members, outcomes, ok),
            "interval": kind,
            "launches": max(1, len(launches)),
            "launch_figures": list(map(launch_figures, launches)),
        },
        environment=first.environment,
        environment_id=first.environment_id or group[0].environment_id,
        started_at=first.started_at,
        harness_version=first.harness_version,
        members=members,
    )


def _figure(name: str, outcomes: Sequence[Record]) -> Figure:
    ok = [record for record in outcomes if record.status == "ok"]
    if name == "solved":
        judged = [record.figures.get(name) for record in ok]
        return None if set(judged) <= {None} else all(map(_has_solved, outcomes))
    if name == "steps_to_solve":
        times = [float(each.figures.get(name) or math.inf) for each in outcomes]
        return survival_median(times, list(map(math.isfinite, times)))
    values = [record.figures.get(name) for record in ok or outcomes]
    numbers = [float(value) for value in values if value is not None]
    if not numbers or (name in WORST and len(numbers) < len(values)):
        return None
    if name in OUTCOMES:
        worst = -math.inf if name == "accuracy" else math.inf
        numbers += [worst] * (len(outcomes) - len(numbers))
    middle = max(numbers) if name in WORST else median(numbers)
    return middle if math.isfinite(middle) else None


def _horizon(ok: Sequence[Record]) -> dict[str, Figure]:
    """Return the median horizon; a gradient that never fell so far is beyond any that did."""
    measured = [record for record in ok if record.figures.get("gradient_horizon") is not None]
    if not measured:
        return {}
    ordered = sorted(measured, key=findings.reach)
    return {"gradient_horizon": ordered[(len(ordered) - 1) // 2].figures["gradient_horizon"]}


def _details(
    members: Sequence[Record], outcomes: Sequence[Record], ok: Sequence[Record]
) -> dict[str, Any]:
    """Return the details that are of all seeds."""
    exploding = [record.exploding() for record in outcomes]
    judged = [each for each in exploding if each is not None]
    reaches = [findings.reach(r) for r in ok if r.figures.get("gradient_horizon") is not None]
    details: dict[str, Any] = {
        "gradient_exploding": 2 * sum(judged) >= len(judged) if judged else None,
        "gradient_horizon_censored": bool(reaches) and math.isinf(median_low(reaches)),
        "flags": merged("flags", outcomes, "seeds"),
        "notes": merged("notes", outcomes, "seeds"),
        "solved_lost_at": None,
    }
    interrupted = len(members) - len(outcomes)
    if interrupted:
        note = f"{interrupted} of {counted(len(members), 'seed')}: interrupted, not counted"
        details["notes"] = [*details["notes"], note]
    values: dict[str, list[float]] = {}
    for record in ok:
        for name, value in findings.scores(record).items():
            values.setdefault(name, []).append(value)
    scores = {name: median(of_seeds) for name, of_seeds in values.items()}
    details |= {"scores": scores} if scores else {}
    sets, probes = _evaluation_sets(outcomes), _probes(ok)
    details |= {"evaluation_sets": sets} if sets else {}
    return details | ({PROBES: probes} if probes else {})


def _evaluation_sets(outcomes: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the medians on each set on which the trained networks were judged."""
    by_set: dict[tuple[str, int], list[Evaluated]] = {}
    for record in outcomes:
        for each in evaluated(record) if record.status == "ok" else ():
            by_set.setdefault((each.name, each.length), []).append(each)
    return [
        {
            "name": name,
            "length": length,
            "loss_validation": _median(seeds, "loss", len(outcomes), math.inf),
            "accuracy": _median(seeds, "accuracy", len(outcomes), -math.inf),
            "loss_ratio": _median(seeds, "loss_ratio", len(outcomes), math.inf),
            "solved": sum(each.solved for each in seeds) == len(outcomes),
        }
        for (name, length), seeds in by_set.items()
    ]


def _probes(ok: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """Return the median figures of each probe over the seeds for which it did not fail."""
    by_probe: dict[str, list[Probed]] = {}
    for record in ok:
        for name, each in probed(record.details).items():
            if each.figures:
                by_probe.setdefault(name, []).append(each)
    return {
        name: {
            "version": seeds[0].version,
            "says": seeds[0].says,
            "figures": {figure: _middle(seeds, figure) for figure in seeds[0].figures},
        }
        for name, seeds in by_probe.items()
    }


def _middle(seeds: Sequence[Probed], figure: str) -> float | None:
    """Return the median; None if a seed lacks the figure, which often is beyond all others."""
    values = [value for each in seeds if (value := each.figures.get(figure)) is not None]
    return median(values) if len(values) == len(seeds) else None


def _median(seeds: Sequence[Evaluated], name: str, total: int, worst: float) -> float | None:
    """Return the median over all seeds; those that were not judged have the worst figure."""
    values = [value for value in (getattr(each, name) for each in seeds) if value is not None]
    if not values:
        return None
    middle = median([*values, *[worst] * (total - len(values))])
    return middle if math.isfinite(middle) else None
