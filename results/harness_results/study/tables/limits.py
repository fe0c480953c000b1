"""The limits table of one task: arithmetic per second, and its fractions of what the machine can do."""

from __future__ import annotations

from collections.abc import Sequence

from harness.contract.records.columns import FIGURES
from harness.contract.records.record import Record
from harness_results.study.networks import in_order, networks
from harness_results.study.tables.pivot import CellText, Pivot, Row
from harness_results.text.format import UNKNOWN, number

LIMITS = tuple(column.label for column in FIGURES if column.table == "limits")
FRACTIONS = ("fraction_of_peak", "fraction_of_serial_limit")
NOTE = (
    "GFLOP/s: matrix products of a training step · % peak: of one large product on the same threads · "
    "% serial: of the chain of products of this shape that a recurrence cannot avoid"
)


def limits(records: Sequence[Record]) -> Pivot | None:
    """Return the table of the records of one task; None where no limit is known."""
    known = [_is_known(record) for record in records]
    if not any(known):
        return None
    found = networks(records)
    entries: dict[tuple[str, ...], dict[int, tuple[CellText, ...]]] = {}
    for record, labels, shown in zip(records, found.labels, known, strict=True):
        if shown:
            entries.setdefault(labels, {})[record.trial.length] = _entry(record)
    return Pivot(
        task=f"{records[0].trial.task}: limits",
        settings="how near the engines come to what this machine can do",
        axes=found.axes,
        lengths=tuple(sorted({length for row in entries.values() for length in row})),
        rows=tuple(
            Row(labels, entries[labels]) for labels in in_order(found.labels) if labels in entries
        ),
        notes=(NOTE,),
        measures=LIMITS,
        minor=True,
    )


def _is_known(record: Record) -> bool:
    return record.status == "ok" and any(record.figures.get(name) is not None for name in FRACTIONS)


def _entry(record: Record) -> tuple[CellText, ...]:
    speed = record.figures.get("flops_per_second")
    fractions = (_percent(record.figures.get(name)) for name in FRACTIONS)
    return tuple(map(CellText, (UNKNOWN if speed is None else number(speed / 1e9), *fractions)))


def _percent(fraction: float | None) -> str:
    return UNKNOWN if fraction is None else number(100.0 * fraction)
