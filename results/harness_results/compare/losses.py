"""Which of two networks learns better: final validation losses in pairs of equal seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from harness.contract.errors import UsageError, with_fix
from harness.contract.records.record import Record
from harness.contract.trial import GATE_OPTIONS, Trial
from harness.contract.wording import counted
from harness_results.compare.gate import Rule
from harness_results.compare.verdicts import ENGINE
from harness_results.study.launches import combine
from harness_results.study.networks import numbers_in_words
from harness_results.study.seeds.statistics import (
    LEVEL,
    median_interval,
    pairs_needed,
    sign_flip,
)
from harness_results.study.seeds.summary import loss_of
from harness_results.study.verdicts.multiple import holm

VERDICTS = ("better", "worse", "cannot_tell", "missing", "new")
# Settings that decide which batches a trial reads: with others the losses are of other data.
OF_DATA = (
    "task", "length", "batch", "steps", "seed", "data_seed", "evaluation_seed",
)  # fmt: skip
SAME_BASELINE = 1e-4  # relative; the same validation batches have the same baseline
FEWEST = pairs_needed()  # pairs; with fewer, no difference is significant at 5 %


@dataclass(frozen=True)
class LossRow:
    """One network on both sides.

    Attributes:
        trial: of the first seed, of ``base`` unless that lacks the network.
        verdict: one of ``VERDICTS``, of ``new``.
        seeds: those of the pairs.
        base: the final validation loss of each pair; infinite if the seed did not end well.
        new: the same of the other side.
        interval: the 95 % interval of the median difference; None with fewer than six pairs.
        p_value: two-sided, by flipping signs; None without a pair.
        p_adjusted: the same, by Holm's method for all rows.
        reason: why nothing can be told.
        unpaired: why seeds have no pair, in words.
        regressions: the rules that it breaks.
    """

    trial: Trial
    verdict: str
    seeds: tuple[int, ...] = ()
    base: tuple[float, ...] = ()
    new: tuple[float, ...] = ()
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    reason: str | None = None
    unpaired: tuple[str, ...] = ()
    regressions: tuple[str, ...] = ()

    @property
    def differences(self) -> list[float]:
        """New less base of each pair; 0 if neither ended well."""
        pairs = zip(self.base, self.new, strict=True)
        return [0.0 if base == new else new - base for base, new in pairs]

    @property
    def difference(self) -> float | None:
        """The median difference; None without a pair, or between minus and plus infinity."""
        middle = median(self.differences) if self.seeds else math.nan
        return None if math.isnan(middle) else middle


@dataclass(frozen=True)
class LossComparison:
    """All rows.

    Attributes:
        rows: one per network, task, length and engine.
        sides: the names of base and new.
    """

    rows: tuple[LossRow, ...]
    sides: tuple[str, str] = ("base", "new")

    @property
    def tests(self) -> int:
        """The number of p-values behind the verdicts."""
        return sum(row.p_value is not None for row in self.rows)

    @property
    def counts(self) -> dict[str, int]:
        """Verdict -> number of rows, in the order of ``VERDICTS``, without zeros."""
        verdicts = [row.verdict for row in self.rows]
        return {verdict: verdicts.count(verdict) for verdict in VERDICTS if verdict in verdicts}


def network_key(axis: str | None) -> Callable[[Trial], str]:
    """Return a function whose key is equal for trials that differ in their seed and this field.

    Raises:
        UsageError: trials that differ in this field read other data.
    """
    if axis in OF_DATA:
        raise UsageError(
            with_fix(
                f"--losses pairs networks that read the same data: another {axis} is other data",
                "name two cells or engines, or --by a setting of the network or the optimizer",
            )
        )
    ignored = {"seed", axis}
    ignored |= set(ENGINE) if axis == "backend" else set()
    ignored |= set(GATE_OPTIONS) if axis == "cell" else set()  # a cell without a gate has none

    def key(trial: Trial) -> str:
        content = {name: value for name, value in trial.content().items() if name not in ignored}
        return json.dumps(content, sort_keys=True)

    return key


def compare_losses(
    base: Iterable[Record],
    new: Iterable[Record],
    *,
    axis: str | None = None,
    rules: Sequence[Rule] = (),
    allowed: Sequence[str] = (),
    fail_on_doubt: bool = False,
) -> LossComparison:
    """Compare the final validation losses of two sides, network by network.

    Two trials of equal seed read the same batches, so their losses are compared in pairs. The
    verdict needs a p-value of at most 5 % after Holm's correction for all rows. A seed that did not
    end well counts as the worst; an interrupted one is not counted.

    Args:
        base: every launch of the one side.
        new: every launch of the other.
        axis: the field in which the sides differ; None: they are two runs of the same trials.
        rules: on ``loss_validation``: by how much the median may get worse; none: not at all.
        allowed: verdicts that do not count as regressions.
        fail_on_doubt: whether ``cannot_tell`` counts as a regression.

    Raises:
        UsageError: the sides read other data, or two trials of a side cannot be told apart.
    """
    key = network_key(axis)
    left, right = _by_network(base, key), _by_network(new, key)
    names = dict.fromkeys([*left, *right])
    rows = [_row(left.get(name, {}), right.get(name, {})) for name in names]
    return LossComparison(
        tuple(_judged(row, rules, allowed, fail_on_doubt=fail_on_doubt) for row in _corrected(rows))
    )


def _by_network(
    records: Iterable[Record], key: Callable[[Trial], str]
) -> dict[str, dict[int, Record]]:
    """Return the record of each seed of each network."""
    networks: dict[str, dict[int, Record]] = {}
    for record in combine(records):
        if record.status == "interrupted":
            continue
        seeds = networks.setdefault(key(record.trial), {})
        other = seeds.setdefault(record.trial.seed, record)
        if other.trial != record.trial:
            raise UsageError(
                f"trials {other.trial.trial_id} and {record.trial.trial_id} of one side cannot be "
                "told apart here: name BACKEND:VARIANT, or compare runs"
            )
    return networks


def _row(left: dict[int, Record], right: dict[int, Record]) -> LossRow:
    first = next(iter((left or right).values())).trial
    if not left or not right:
        return LossRow(first, "missing" if left else "new")
    sides = {"base": sorted(left.keys() - right), "new": sorted(right.keys() - left)}
    unpaired = [f"only {name} has {_seeds(extra)}" for name, extra in sides.items() if extra]
    both = sorted(left.keys() & right)
    pairs = [seed for seed in both if _read_the_same(left[seed], right[seed])]
    if other := [seed for seed in both if seed not in pairs]:
        unpaired.append(f"other validation data for {_seeds(other)}")
    row = LossRow(
        first,
        "cannot_tell",
        tuple(pairs),
        tuple(loss_of(left[seed]) for seed in pairs),
        tuple(loss_of(right[seed]) for seed in pairs),
        unpaired=tuple(unpaired),
    )
    if not pairs:
        return row
    return replace(
        row, interval=median_interval(row.differences), p_value=sign_flip(row.differences)
    )


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {numbers_in_words(seeds)}"


def _read_the_same(left: Record, right: Record) -> bool:
    """Say whether two trials were validated on the same data, by the loss of the baseline there."""
    base, new = (record.figures.get("loss_baseline") for record in (left, right))
    return base is None or new is None or math.isclose(base, new, rel_tol=SAME_BASELINE)


def _corrected(rows: Sequence[LossRow]) -> list[LossRow]:
    adjusted = holm([row.p_value for row in rows])
    total = sum(p is not None for p in adjusted)
    return [
        _with_verdict(replace(row, p_adjusted=p), total)
        for row, p in zip(rows, adjusted, strict=True)
    ]


def _with_verdict(row: LossRow, total: int) -> LossRow:
    if row.verdict != "cannot_tell":
        return row
    if row.p_adjusted is not None and row.difference and row.p_adjusted <= LEVEL:
        return replace(row, verdict="better" if row.difference < 0 else "worse")
    return replace(row, reason=_doubt(row, total))


def _doubt(row: LossRow, total: int) -> str:
    needed, pairs = pairs_needed(total), len(row.seeds)
    if pairs < needed:
        among = f" among {total} comparisons" if total > 1 else ""
        return (
            f"{counted(pairs, 'pair')} of seeds; a difference{among} needs {needed} or more "
            f"(--seeds {needed})"
        )
    if not any(row.differences):
        return "the losses are equal"
    return "the differences scatter too widely to tell: add seeds"


def _judged(
    row: LossRow, rules: Sequence[Rule], allowed: Sequence[str], *, fail_on_doubt: bool
) -> LossRow:
    broken = [row.verdict] if row.verdict == "missing" else []
    broken += [row.verdict] if fail_on_doubt and row.verdict == "cannot_tell" else []
    if row.verdict == "worse":
        broken += [str(rule) for rule in rules if _exceeds(rule, row)] if rules else [row.verdict]
    return replace(row, regressions=tuple(name for name in broken if name not in allowed))


def _exceeds(rule: Rule, row: LossRow) -> bool:
    limit = rule.threshold * abs(median(row.base)) if rule.relative else rule.threshold
    return (row.difference or 0.0) > limit
