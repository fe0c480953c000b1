"""A task's records as a table: rows by network and engine, column groups by length."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.contract.records.columns import FIGURES, Column
from harness.contract.records.record import Record
from harness_results.study import findings
from harness_results.study.networks import Labels
from harness_results.study.study import Study
from harness_results.study.tables.notes import notes
from harness_results.study.tables.trends import TRENDS, LossScale, trends
from harness_results.study.verdicts.fastest import LEGEND, fastest
from harness_results.text.format import UNKNOWN, figure, interval, number, ratio

MEASURED = tuple(column for column in FIGURES if column.table == "networks")
MEASURES = tuple(column.label for column in MEASURED)
SOLVED, BASELINE, VANISHING, EXPLODING = "✓", "≈", "↓", "↑"
UNVERIFIED, OTHER_FUNCTION = "?", "≠"
CellStyle = Literal["", "good", "warn", "bad", "dim", "best"]
_MILD = ("unsupported", "interrupted")


@dataclass(frozen=True)
class CellText:
    """One cell of a table: its text, the mark behind it, and how it is meant."""

    text: str
    mark: str = ""
    tone: CellStyle = ""


@dataclass(frozen=True)
class Row:
    """One network on one engine (or a reference), at each length.

    Attributes:
        labels: what tells it from the other rows.
        entries: ``MEASURES`` by length.
        reference: whether it is the baseline or the floor.
        trends: its bars across the lengths, one for each of the table's ``trends``.
    """

    labels: Labels
    entries: dict[int, tuple[CellText, ...]]
    reference: bool = False
    trends: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pivot:
    """The table of one task.

    Attributes:
        task: its name.
        settings: what all its trials share, in words.
        axes: the names of the row labels.
        lengths: the column groups.
        rows: the references (baseline, floor), then the networks.
        notes: lines for below the table: marks in use, what is n/a and why, over-fitting, flags.
        measures: the names of the columns of each group.
        minor: whether it stands below the table of the same task.
        trends: the names of the bars across lengths, for a terminal; none where there is one
            length.
    """

    task: str
    settings: str
    axes: tuple[str, ...]
    lengths: tuple[int, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())
    measures: tuple[str, ...] = MEASURES
    minor: bool = False
    trends: tuple[str, ...] = ()


def pivot(study: Study, bold: Container[int] | None = None) -> Pivot:
    """Return the table of a task.

    Args:
        study: the task.
        bold: the ``id`` of the records that are the fastest; None: judged by these records alone.
    """
    bold = fastest([study]) if bold is None else bold
    bars, rows = _known_bars(_networks(study, bold))
    rows = _references(study) + rows
    marks = {cell.mark for row in rows for entry in row.entries.values() for cell in entry}
    has_bold = any(id(record) in bold for record in study.records)
    return Pivot(
        task=study.task,
        settings=study.networks.words,
        axes=study.networks.axes,
        lengths=study.lengths,
        rows=tuple(rows),
        notes=(*notes(study, marks), *([LEGEND] if has_bold else [])),
        trends=bars,
    )


def _references(study: Study) -> list[Row]:
    """Return the rows of the trivial and of the perfect predictor, if all records agree on them."""
    baselines = {length: study.baseline(length) for length in study.lengths}
    floors = {length: study.agreed("loss_floor", length) for length in study.lengths}
    rows = []
    for name, losses in (("baseline", baselines), ("floor", floors)):
        entries = {
            n: _reference(loss, baselines[n]) for n, loss in losses.items() if loss is not None
        }
        if entries:
            labels = (name, *[""] * (len(study.networks.axes) - 1))
            rows.append(Row(labels, entries, reference=True))
    return rows


def _reference(loss: float, baseline: float | None) -> tuple[CellText, ...]:
    multiple = f" ({ratio(loss / baseline)})" if baseline else ""
    return (CellText(number(loss) + multiple, tone="dim"), *[CellText("")] * (len(MEASURES) - 1))


def _networks(study: Study, bold: Container[int]) -> list[Row]:
    """Return the rows by network, the engines of a network side by side."""
    scale = LossScale.of(study.records)
    rows = []
    for labels, by_length in study.rows.items():
        entries = {n: _entry(record, best=id(record) in bold) for n, record in by_length.items()}
        rows.append(Row(labels, entries, trends=trends(by_length, study.lengths, scale)))
    return rows


def _known_bars(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[Row]]:
    """Return the names of the bars of which any row has one, and the rows with those alone."""
    kept = [
        index
        for index in range(len(TRENDS))
        if any(row.trends and row.trends[index] for row in rows)
    ]
    few = [replace(row, trends=tuple(row.trends[index] for index in kept)) for row in rows]
    return tuple(TRENDS[index] for index in kept), few


def _entry(record: Record, *, best: bool) -> tuple[CellText, ...]:
    return tuple(_cell(column, record, best=best) for column in MEASURED)


def _cell(column: Column, record: Record, *, best: bool) -> CellText:
    match column.name:
        case "loss_validation":
            return _loss(record)
        case "tokens_per_second":
            return _speed(record, best=best)
        case "gradient_norm_median":
            return _norm(record)
        case "gradient_horizon":
            return _horizon(record)
    return CellText(figure(column, record.figures.get(column.name)))


def _norm(record: Record) -> CellText:
    median, largest = (record.figures.get(f"gradient_norm_{name}") for name in ("median", "max"))
    if not findings.is_exploding(record) or largest is None:
        return CellText(number(median))
    return CellText(f"{number(median)} (max {number(largest)})", tone="bad")


def _speed(record: Record, *, best: bool) -> CellText:
    if record.status != "ok":
        return CellText(UNKNOWN, tone="dim")
    names = ("tokens_per_second", "tokens_per_second_low", "tokens_per_second_high")
    shown = CellText(
        interval(*(record.figures.get(name) for name in names)), tone="best" if best else ""
    )
    if "deviation" in record.details:
        return replace(shown, mark=OTHER_FUNCTION, tone="warn")
    return (
        shown
        if findings.is_verified(record)
        else replace(shown, mark=UNVERIFIED, tone=shown.tone or "warn")
    )


def _loss(record: Record) -> CellText:
    if record.status != "ok":
        return CellText(
            record.status.replace("_", " "), tone="warn" if record.status in _MILD else "bad"
        )
    loss, multiple = record.figures.get("loss_validation"), record.figures.get("loss_ratio")
    shown = CellText(number(loss) if multiple is None else f"{number(loss)} ({ratio(multiple)})")
    if record.figures.get("solved"):
        return replace(shown, mark=SOLVED, tone="good")
    return replace(shown, mark=BASELINE, tone="warn") if findings.at_baseline(record) else shown


def _horizon(record: Record) -> CellText:
    horizon = record.figures.get("gradient_horizon")
    shown = CellText(
        UNKNOWN if horizon is None else f"{'>' * findings.is_censored(record)}{horizon:g}"
    )
    if horizon is not None and record.status != "ok":
        shown = replace(shown, text=f"{shown.text} (step {record.horizon_step()})")
    if findings.is_exploding(record):
        return replace(shown, mark=EXPLODING, tone="bad")
    return replace(shown, mark=VANISHING, tone="bad") if findings.is_vanishing(record) else shown
