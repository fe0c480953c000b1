"""Which of two sets of launches is faster: one rule for all tables, charts and commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.contract.records.record import Record
from harness_results.study.findings import is_of_earlier_rules
from harness_results.study.verdicts.floors import Floor, floor_of
from harness_results.study.verdicts.order import each_launch, interleaved
from harness_results.study.verdicts.statistics import DEFAULT_DRIFT, Effect, compare_speed

TWO_RULES = (
    "one speed is the median of blocks, by an earlier version, the other all tokens over all "
    "seconds: measure again"
)


def with_speed(records: Iterable[Record]) -> list[Record]:
    """Return the launches that ended well and have a speed."""
    return [
        record
        for record in records
        if record.status == "ok" and record.figures.get("tokens_per_second")
    ]


def launch_seconds(records: Iterable[Record]) -> list[float]:
    """Return the seconds per token of every launch that ended well."""
    return [1 / float(record.figures["tokens_per_second"] or 0) for record in with_speed(records)]


def effect_of_launches(
    base: Sequence[Record], new: Sequence[Record], floor: Floor, drift: float, comparisons: int = 1
) -> tuple[Effect, float | None]:
    """Return how ``new`` compares with ``base``, and the drift that widens the interval.

    Args:
        base: launches with a speed.
        new: launches with a speed.
        floor: the noise floor of both.
        drift: of the machine; it counts only if the launches took no turns.
        comparisons: the number in the table.
    """
    apart = None if interleaved(base, new) else drift
    seconds = launch_seconds(base), launch_seconds(new)
    effect = compare_speed(*seconds, floor.value, apart or 0.0, comparisons)
    return effect, None if effect.low is None else apart


def effect_of(base: Record, new: Record) -> Effect:
    """Return how a record with a speed compares with another, before any correction.

    Nothing can be told if an earlier version measured one of them: its speeds follow another rule.
    """
    # the stored launches may lack a speed
    left, right = (with_speed(each_launch(record)) or [record] for record in (base, new))
    floor = max(map(floor_of, (base, new)), key=lambda floor: floor.value)
    effect = effect_of_launches(left, right, floor, DEFAULT_DRIFT)[0]
    if is_of_earlier_rules(base) == is_of_earlier_rules(new):
        return effect
    return replace(effect, verdict="cannot_tell", p_value=None, reason=TWO_RULES)


def took_turns(first: Record, second: Record) -> bool:
    """Say whether the launches of two records took turns."""
    return interleaved(each_launch(first), each_launch(second))
