"""Which engine is the fastest on a network, length and machine, by the rule of compare."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from harness.contract.records.record import Record
from harness_results.study import findings
from harness_results.study.study import Study
from harness_results.study.verdicts.faster import TWO_RULES, effect_of, took_turns
from harness_results.study.verdicts.multiple import corrected
from harness_results.study.verdicts.statistics import FEWEST, Effect

LEGEND = "bold tokens/s: the fastest, by the rule of harness compare"


@dataclass(frozen=True)
class Contest:
    """What was measured on one network, length and machine; the rivals by falling throughput.

    Attributes:
        names: of the rivals.
        records: of the rivals.
        effect: how the first compares with the rival against which its lead is the least sure.
    """

    names: tuple[str, ...]
    records: tuple[Record, ...]
    effect: Effect

    @property
    def is_clear(self) -> bool:
        """Whether the first is faster than every other."""
        return self.effect.verdict == "faster"

    @property
    def few_launches(self) -> bool:
        """Whether any rival has too few launches to tell."""
        return self.effect.p_value is None and not self.of_two_rules

    @property
    def of_two_rules(self) -> bool:
        """Whether nothing can be told because an earlier version measured one of the speeds."""
        return self.effect.reason == TWO_RULES

    @property
    def took_turns(self) -> bool:
        """Whether the launches of the first took turns with those of every other."""
        return all(took_turns(self.records[0], record) for record in self.records[1:])

    @property
    def ratio(self) -> float:
        """Throughput of the first as a multiple of the next one's."""
        return _speed(self.records[0]) / _speed(self.records[1])


def contests(tasks: Sequence[Study]) -> list[list[Contest]]:
    """Return the contests of each task: of its engines, or of its cells if it has one engine.

    The verdicts are corrected for the number of all contests. Only the ``comparable`` records take
    part.
    """
    groups = [list(_groups(study)) for study in tasks]
    effects = iter(corrected([_least_sure(records) for group in groups for _, records in group]))
    return [
        [Contest(names, records, next(effects)) for names, records in group] for group in groups
    ]


def fastest(tasks: Sequence[Study]) -> frozenset[int]:
    """Return the ``id`` of every record that is the fastest of several."""
    return winners(contests(tasks))


def winners(of_tasks: Sequence[Sequence[Contest]]) -> frozenset[int]:
    """Return the ``id`` of every record that clearly wins one of these contests."""
    return frozenset(
        id(contest.records[0]) for task in of_tasks for contest in task if contest.is_clear
    )


def timed(records: Sequence[Record]) -> list[Record]:
    """Return the records that ended well and have a speed."""
    return [record for record in records if record.status == "ok" and _speed(record) > 0]


def comparable(records: Sequence[Record]) -> list[Record]:
    """Return the verified records with a speed that compute the function of their cell."""
    return [
        record
        for record in timed(records)
        if findings.is_verified(record) and "deviation" not in record.details
    ]


def _groups(study: Study) -> Iterator[tuple[tuple[str, ...], tuple[Record, ...]]]:
    """Yield the names and records of the rivals on each network, length and machine."""
    records = comparable(study.records)
    if not records:
        return
    if len(records) < len(study.records):
        study = Study(records)  # other labels: settings may vary less
    one_engine = len({record.trial.engine for record in records}) == 1
    name = attrgetter("trial.cell" if one_engine else "trial.engine")
    groups: dict[Any, list[Record]] = {}
    for label, record in study.labelled:
        shared = label[1:] if one_engine else label[:-1]
        groups.setdefault((shared, record.trial.length, record.environment_id), []).append(record)
    for group in groups.values():
        if len({name(record) for record in group}) > 1:
            ordered = sorted(group, key=_speed, reverse=True)
            yield tuple(map(name, ordered)), tuple(ordered)


def _least_sure(records: Sequence[Record]) -> Effect:
    """Return how the first compares with the rival against which its lead is the least sure."""
    first, *others = records
    if min(record.launches for record in records) < FEWEST:
        return effect_of(min(others, key=attrgetter("launches")), first)
    effects = [effect_of(other, first) for other in others]
    return max(effects, key=lambda effect: (effect.verdict != "faster", effect.p_value or 0.0))


def _speed(record: Record) -> float:
    return float(record.figures.get("tokens_per_second") or 0.0)
