"""The result of a comparison: a row with a verdict for each trial, and the totals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.contract.records.record import Record
from harness.contract.trial import Trial
from harness_results.study.findings import is_warming_up
from harness_results.study.verdicts.floors import Floor
from harness_results.study.verdicts.statistics import Effect

VERDICTS = (
    "faster", "slower", "same", "cannot_tell", "newly_failing", "fixed",
    "missing", "new", "not_comparable",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One trial on both sides.

    Attributes:
        trial: of ``base``, or of ``new`` if ``base`` lacks it.
        verdict: one of ``VERDICTS``.
        base: the combined record; None if the trial is missing.
        new: the same of the other side.
        effect: of the throughput; None if nothing was compared, for example because both sides are
            the same launches.
        floor: the noise floor that the verdict used.
        drift: of the machine, by which the interval is widened because the launches of the two
            sides took no turns; None: they took turns, or there is no interval.
        reason: why there is no verdict, what fails, or that both sides are the same launches.
        regressions: the rules that it breaks.
        unchecked: the rules on a figure that ``base`` lacks, if both sides ended well.
    """

    trial: Trial
    verdict: str
    base: Record | None
    new: Record | None
    effect: Effect | None = None
    floor: Floor = field(default_factory=Floor)
    drift: float | None = None
    reason: str | None = None
    regressions: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def both_ok(self) -> bool:
        """Whether the trial ended well on both sides, so that all figures can be compared."""
        return [side.status for side in self._sides] == ["ok", "ok"]

    @property
    def jobs(self) -> tuple[int, int]:
        """The number of launches that ran at once on each side."""
        sides = (self.base, self.new)
        base, new = (int(side.details.get("jobs", 1)) if side else 1 for side in sides)
        return base, new

    @property
    def warm(self) -> bool:
        """Whether a side was measured in processes that other trials used before."""
        return any(side.details.get("isolation") == "backend" for side in self._sides)

    @property
    def warming_up(self) -> bool:
        """Whether the warm-up of a side's launches ended before block times were flat."""
        return any(map(is_warming_up, self._sides))

    @property
    def _sides(self) -> list[Record]:
        return [side for side in (self.base, self.new) if side is not None]


@dataclass(frozen=True)
class Comparison:
    """All rows, and the geometric mean of the throughput ratios.

    Attributes:
        rows: one per trial.
        versions: library -> its version in base and in new, of those that differ.
        sides: the names of base and new.
    """

    rows: tuple[Row, ...]
    versions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sides: tuple[str, str] = ("base", "new")

    @property
    def tests(self) -> int:
        """The number of p-values behind the verdicts."""
        return sum(row.effect is not None and row.effect.p_value is not None for row in self.rows)

    @property
    def ratios(self) -> list[float]:
        """New throughput / base throughput of each trial that has both."""
        return [1 + row.effect.change for row in self.rows if row.effect is not None]

    @property
    def geometric_mean(self) -> float | None:
        """The mean ratio; None if no trial has a speed on both sides."""
        logs = [math.log(ratio) for ratio in self.ratios if ratio > 0]
        return math.exp(sum(logs) / len(logs)) if logs else None

    @property
    def counts(self) -> dict[str, int]:
        """Verdict -> number of trials, in the order of ``VERDICTS``, without zeros."""
        verdicts = [row.verdict for row in self.rows]
        return {verdict: verdicts.count(verdict) for verdict in VERDICTS if verdict in verdicts}

    @property
    def comparable(self) -> bool:
        """Whether any trial is on both sides."""
        return any(row.base is not None and row.new is not None for row in self.rows)
