"""Small bars across lengths: one line of blocks per row and figure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.contract.records.record import Record
from harness_results.text.format import bars

TRENDS = ("loss", "tok/s")
FEWEST_LENGTHS = 2  # that show a trend
MOST_BARS = 16
HIGHEST_RATIO = 2.0  # a full bar at most, so that a loss that diverges does not flatten the others
NOTE = (
    "bars, shortest T first: loss from 0 to the baseline (or to the largest here, at most twice "
    "that), tok/s from 0 to the row's most"
)


@dataclass(frozen=True)
class LossScale:
    """The figure that the bars of loss show, and the value of a full bar."""

    figure: str
    top: float

    @classmethod
    def of(cls, records: Sequence[Record]) -> LossScale:
        """Return the scale of a table: loss ratios, or losses if no record has a baseline."""
        ratios = _not_none(_of(record, "loss_ratio") for record in records)
        losses = _not_none(_of(record, "loss_validation") for record in records)
        if losses and not ratios:
            return cls("loss_validation", max(map(abs, losses)))
        largest = max(map(abs, ratios), default=1.0)
        return cls("loss_ratio", max(1.0, min(HIGHEST_RATIO, largest)))


def trends(
    by_length: Mapping[int, Record], lengths: Sequence[int], scale: LossScale
) -> tuple[str, ...]:
    """Return the bars of one row, in the order of ``TRENDS``; a gap if a figure is unknown.

    They are empty if there are too few lengths.
    """
    if len(lengths) < FEWEST_LENGTHS:
        return ("",) * len(TRENDS)
    records = [by_length.get(length) for length in lengths]
    losses = [_of(record, scale.figure) for record in records]
    speeds = [_of(record, "tokens_per_second") for record in records]
    most = max(_not_none(speeds), default=0.0)
    return bars(losses, scale.top, MOST_BARS), bars(speeds, most, MOST_BARS)


def _not_none(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _of(record: Record | None, figure: str) -> float | None:
    if record is None or record.status != "ok":
        return None
    value = record.figures.get(figure)
    return None if value is None else float(value)
