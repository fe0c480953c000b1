"""Verdicts: whether what was measured agrees with what was published."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from harness.contract.records.record import Record, finite
from harness_results.published.entry import DEVIATIONS, Entry, Figure
from harness_results.published.statistics import values_of
from harness_results.study.seeds.statistics import median_interval
from harness_results.text.format import number
from harness_results.text.grid import Grid

REPRODUCED, OUTSIDE, CANNOT_TELL = "reproduced", "outside", "cannot tell"
NOT_EXPRESSIBLE = "not expressible"
INFINITE = "infinite"  # a loss of a network that diverged, in words


@dataclass(frozen=True)
class Judgement:
    """A figure that was measured.

    Attributes:
        figure: that of the source.
        values: seed -> what was measured.
    """

    figure: Figure
    values: Mapping[int, float]

    @property
    def verdict(self) -> str:
        """``reproduced`` if the whole interval is in the band, ``outside`` if none of it is.

        The interval is the 95 % interval of the median over seeds; of fewer than six seeds their
        range. Of one seed it is so wide that a value outside lies beyond what two seeds differ by:
        two standard deviations of a difference, sqrt(2) times those of a seed.
        """
        if not self.values:
            return CANNOT_TELL
        (low, high), measured = self.figure.band, list(self.values.values())
        least, most = median_interval(measured) or (min(measured), max(measured))
        if len(measured) == 1:
            margin = DEVIATIONS * (math.sqrt(2) - 1) * (self.figure.deviation or 0.0)
            least, most = least - margin, most + margin
        if low <= least and most <= high:
            return REPRODUCED
        return OUTSIDE if most < low or least > high else CANNOT_TELL


@dataclass(frozen=True)
class Reproduction:
    """An entry with what was measured of it.

    Attributes:
        entry: the published result.
        judgements: one for each figure; none if nothing runs.
        failures: why trials have no figures, in words.
    """

    entry: Entry
    judgements: Sequence[Judgement] = ()
    failures: Sequence[str] = field(default=())

    @property
    def verdict(self) -> str:
        """The worst of its figures."""
        if self.entry.kind == "not_expressible":
            return NOT_EXPRESSIBLE
        verdicts = {judgement.verdict for judgement in self.judgements}
        worst = next((each for each in (OUTSIDE, CANNOT_TELL) if each in verdicts), REPRODUCED)
        return worst if verdicts else CANNOT_TELL


def reproduction(entry: Entry, records: Sequence[Record]) -> Reproduction:
    """Return the verdict on an entry from the records of its plan, with their curves."""
    failures = [
        f"{record.trial.trial_id} {record.status}: {record.reason}"
        for record in records
        if record.status != "ok"
    ]
    judgements = [Judgement(each, values_of(each, records)) for each in entry.figures]
    return Reproduction(entry, judgements, failures)


def table_of(reproductions: Sequence[Reproduction]) -> Grid:
    """Return published and measured values, a row for each figure, with the deviations below."""
    rows: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    notes: list[str] = []
    for each in reproductions:
        entry = each.entry
        if not each.judgements:
            rows.append(((entry.name, ""), ("", "", "", "", each.verdict)))
        rows += [((entry.name, every.figure.name), _cells(every)) for every in each.judgements]
        if entry.reason:
            notes.append(f"{entry.name} is not expressible: {entry.reason}")
        notes += [f"{entry.name} failed: {failure}" for failure in each.failures]
        if entry.deviations:
            notes.append(f"{entry.name} ({entry.kind}) deviates: {'; '.join(entry.deviations)}")
    return Grid(
        title="published results",
        axes=("name", "figure"),
        columns=("published", "band", "measured", "seeds", "verdict"),
        rows=tuple(rows),
        notes=tuple(notes),
        across=True,
    )


def rows_of(reproductions: Sequence[Reproduction]) -> list[dict[str, Any]]:
    """Return one JSON-able row for each figure, or for an entry without measured figures."""
    rows = []
    for each in reproductions:
        shared = {
            "name": each.entry.name,
            "kind": each.entry.kind,
            "source": each.entry.source,
            "entry_verdict": each.verdict,
            "deviations": list(each.entry.deviations),
            "reason": each.entry.reason or None,
            "failures": list(each.failures),
        }
        rows += [shared | _row(judgement) for judgement in each.judgements] or [shared | _EMPTY]
    return rows


_EMPTY: dict[str, Any] = dict.fromkeys(
    ("figure", "statistic", "published", "says", "band_low", "band_high", "values", "verdict")
)


def _row(judgement: Judgement) -> dict[str, Any]:
    figure = judgement.figure
    low, high = figure.band
    row = {
        "figure": figure.name,
        "statistic": figure.statistic,
        "published": figure.published,
        "says": figure.says or None,
        "band_low": low,
        "band_high": high,
        "values": {str(seed): value for seed, value in judgement.values.items()},
        "verdict": judgement.verdict,
    }
    return dict(finite(row))


def _cells(judgement: Judgement) -> tuple[str, ...]:
    figure = judgement.figure
    published = figure.says if figure.published is None else _number(figure.published)
    return (
        published,
        _band(*figure.band),
        _measured(judgement),
        str(len(judgement.values)),
        judgement.verdict,
    )


def _band(low: float, high: float) -> str:
    if high == float("inf"):
        return f"≥ {_number(low)}"
    return f"≤ {_number(high)}" if low == -float("inf") else f"{_number(low)} to {_number(high)}"


def _measured(judgement: Judgement) -> str:
    values = list(judgement.values.values())
    if not values:
        return ""
    texts = [_number(value) for value in (median(values), min(values), max(values))]
    if judgement.figure.statistic == "first_below":
        texts = ["never" if text == INFINITE else text for text in texts]
    middle, least, most = texts
    return middle if least == most else f"{middle} ({least} to {most})"


def _number(value: float) -> str:
    if math.isinf(value):
        return INFINITE if value > 0 else f"-{INFINITE}"
    return number(int(value) if value == int(value) and abs(value) >= 1 else value, 4)
