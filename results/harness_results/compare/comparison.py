"""What a comparison found: a row with a verdict for each trial, and the whole."""

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
    "faster",
    "slower",
    "same",
    "cannot_tell",
    "newly_failing",
    "fixed",
    "missing",
    "new",
    "not_comparable",
)


@dataclass(frozen=True)
class Row:
    """One trial on both sides.

    Attributes:
        trial: that of ``base``, or of ``new`` where there is no other.
        verdict: one of ``VERDICTS``.
        base: the combined record, None where the trial is missing.
        new: the same of the other side.
        effect: of the throughput, None where nothing was compared, as where both sides are the same
            launches.
        floor: the noise floor that the verdict went by.
        drift: of the machine, by which the interval is widened, since the launches of the two sides
            took no turns; None: they did, or there is no interval.
        reason: why nothing can be told, what fails, or that both sides are the same launches.
        regressions: which rules it breaks; empty: none.
        unchecked: which rules ask for a figure that ``base`` lacks, where both sides ended well.
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
        return all(side is not None and side.status == "ok" for side in (self.base, self.new))

    @property
    def jobs(self) -> tuple[int, int]:
        """How many launches ran at once while each side was measured."""
        base, new = (
            int(side.details.get("jobs", 1)) if side else 1 for side in (self.base, self.new)
        )
        return base, new

    @property
    def warm(self) -> bool:
        """Whether a side was measured in processes that other trials used before."""
        return any(
            side is not None and side.details.get("isolation") == "backend"
            for side in (self.base, self.new)
        )

    @property
    def warming_up(self) -> bool:
        """Whether the warm-up of a side's launches ended before block times were flat."""
        return any(side is not None and is_warming_up(side) for side in (self.base, self.new))


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
        """How many p-values the verdicts rest on."""
        return sum(row.effect is not None and row.effect.p_value is not None for row in self.rows)

    @property
    def ratios(self) -> list[float]:
        """New throughput by base throughput, one per trial that has both."""
        return [1 + row.effect.change for row in self.rows if row.effect is not None]

    @property
    def geometric_mean(self) -> float | None:
        """The mean ratio; None where no trial has a speed on both sides."""
        logs = [math.log(ratio) for ratio in self.ratios if ratio > 0]
        return math.exp(sum(logs) / len(logs)) if logs else None

    @property
    def counts(self) -> dict[str, int]:
        """Verdict -> number of trials, in the order of ``VERDICTS``, those that occur."""
        verdicts = [row.verdict for row in self.rows]
        return {verdict: verdicts.count(verdict) for verdict in VERDICTS if verdict in verdicts}

    @property
    def comparable(self) -> bool:
        """Whether any trial stands on both sides."""
        return any(row.base is not None and row.new is not None for row in self.rows)
