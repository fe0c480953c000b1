"""The limits table of one task: arithmetic per second, and fractions of what the machine can do."""

from __future__ import annotations

from harness.contract.records.columns import FIGURES
from harness.contract.records.record import Record
from harness_results.study.networks import Labels
from harness_results.study.study import Study
from harness_results.study.tables.pivot import CellText, Pivot, Row
from harness_results.text.format import UNKNOWN, number

LIMITS = tuple(column for column in FIGURES if column.table == "limits")
NOTE = (
    "GFLOP/s: matrix products of a training step · % peak: of one large product on the same "
    "threads · % serial: of the chain of products of this shape that a recurrence cannot avoid"
)


def limits(study: Study) -> Pivot | None:
    """Return the table of a task; None if no limit is known."""
    entries: dict[Labels, dict[int, tuple[CellText, ...]]] = {}
    for labels, by_length in study.rows.items():
        cells = {n: _entry(record) for n, record in by_length.items() if _has_limit(record)}
        if cells:
            entries[labels] = cells
    if not entries:
        return None
    return Pivot(
        task=f"{study.task}: limits",
        settings="how near the engines come to what this machine can do",
        axes=study.networks.axes,
        lengths=tuple(sorted({length for row in entries.values() for length in row})),
        rows=tuple(Row(labels, by_length) for labels, by_length in entries.items()),
        notes=(NOTE,),
        measures=tuple(column.label for column in LIMITS),
        minor=True,
    )


def _has_limit(record: Record) -> bool:
    fractions = [column.name for column in LIMITS if column.unit == "fraction"]
    return record.status == "ok" and any(record.figures.get(name) is not None for name in fractions)


def _entry(record: Record) -> tuple[CellText, ...]:
    texts = []
    for column in LIMITS:
        value = record.figures.get(column.name)
        if value is None:
            texts.append(UNKNOWN)
        else:
            texts.append(number(value / 1e9 if column.unit == "FLOP/s" else 100.0 * value))
    return tuple(map(CellText, texts))
