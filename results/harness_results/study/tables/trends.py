"""Small bars across lengths: one line of blocks per row and figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.contract.records.record import Record
from harness_results.text.format import bars

TRENDS = ("loss", "tok/s")
FEWEST_LENGTHS = 2  # of which a trend can be seen
MOST_BARS = 16
HIGHEST_RATIO = (
    2.0  # a loss above it has a full bar too, so that one that diverges does not flatten the others
)
NOTE = (
    "bars, shortest T first: loss from 0 to the baseline (or to the largest here, at most twice that), tok/s from 0 to "
    "the row's most"
)


@dataclass(frozen=True)
class LossScale:
    """The figure that the bars of loss show, and the value of a full bar."""

    figure: str
    top: float

    @classmethod
    def of(cls, records: Sequence[Record]) -> LossScale:
        """Return the scale of a table: loss ratios, or losses if no record has a baseline."""
        for figure in ("loss_ratio", "loss_validation"):
            values = [
                abs(value) for record in records if (value := _of(record, figure)) is not None
            ]
            if values:
                return cls(
                    figure,
                    max(1.0, min(HIGHEST_RATIO, max(values)))
                    if figure == "loss_ratio"
                    else max(values),
                )
        return cls("loss_ratio", 1.0)


def trends(
    by_length: Mapping[int, Record], lengths: Sequence[int], scale: LossScale
) -> tuple[str, ...]:
    """Return the bars of one row, in the order of ``TRENDS``; a gap if a figure is unknown.

    They are empty where there are too few lengths.
    """
    if len(lengths) < FEWEST_LENGTHS:
        return ("",) * len(TRENDS)
    records = [by_length.get(length) for length in lengths]
    losses = [None if record is None else _of(record, scale.figure) for record in records]
    speeds = [None if record is None else _of(record, "tokens_per_second") for record in records]
    most = max((speed for speed in speeds if speed is not None), default=0.0)
    return bars(losses, scale.top, MOST_BARS), bars(speeds, most, MOST_BARS)


def _of(record: Record, figure: str) -> float | None:
    value = record.figures.get(figure)
    return None if record.status != "ok" or value is None else float(value)
