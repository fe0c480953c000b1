"""A task's records as a table: rows by network and engine, column groups by length."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.contract.records.columns import FIGURES, Column
from harness.contract.records.record import Record
from harness_results.study import findings
from harness_results.study.networks import Labels
from harness_results.study.seeds.statistics import proportion_interval
from harness_results.study.seeds.summary import SeedSummary, members_of, solved_of
from harness_results.study.study import Study
from harness_results.study.tables.notes import notes
from harness_results.study.tables.trends import TRENDS, LossScale, trends
from harness_results.study.verdicts.fastest import LEGEND, fastest
from harness_results.text.format import UNKNOWN, figure, interval, number, ratio

MEASURED = tuple(column for column in FIGURES if column.table == "networks")
MEASURES = tuple(column.label for column in MEASURED)
SPREAD, SHARE = "spread", "solved"  # further columns of a table over seeds
SOLVED, BASELINE, VANISHING, EXPLODING = "✓", "≈", "↓", "↑"
UNVERIFIED, OTHER_FUNCTION = "?", "≠"
CellStyle = Literal["", "good", "warn", "bad", "dim", "best"]
_MILD = ("unsupported", "interrupted")


@dataclass(frozen=True)
class CellText:
    """One cell of a table: its text, the mark behind it, and its style."""

    text: str
    mark: str = ""
    style: CellStyle = ""


@dataclass(frozen=True)
class Row:
    """One network on one engine (or a reference), at each length.

    Attributes:
        labels: the text of the label columns.
        entries: the cells of the table's ``measures``, by length.
        reference: whether it is the baseline or the floor.
        trends: its bars across the lengths, one for each of the table's ``trends``.
        ids: the first digits of the trial's id, by length; of several seeds that of the median
            loss, and how many more there are.
    """

    labels: Labels
    entries: dict[int, tuple[CellText, ...]]
    reference: bool = False
    trends: tuple[str, ...] = ()
    ids: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pivot:
    """The table of one task.

    Attributes:
        task: its name.
        settings: the settings that all its trials share, in words.
        axes: the names of the row labels.
        lengths: the column groups.
        rows: the references (baseline, floor), then the networks.
        notes: lines below the table: marks in use, failed trials and why, over-fitting, flags.
        measures: the names of the columns of each group.
        minor: whether it belongs below the main table of the same task.
        trends: the names of the bars across lengths, for a terminal; empty if there is one length.
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


def pivot(study: Study, bold: Container[int] | None = None, digits: int = 0) -> Pivot:
    """Return the table of a task.

    Args:
        study: the task.
        bold: the ``id`` of the fastest records; None: judged by these records alone.
        digits: how many digits of each trial's id the rows keep.
    """
    bold = fastest([study]) if bold is None else bold
    measures = measures_of(study)
    bars, rows = _known_bars(_networks(study, measures, bold, digits))
    rows = _references(study, measures) + rows
    marks = {cell.mark for row in rows for entry in row.entries.values() for cell in entry}
    has_bold = any(id(record) in bold for record in study.records)
    return Pivot(
        task=study.task,
        settings=study.networks.words,
        axes=study.networks.axes,
        lengths=study.lengths,
        rows=tuple(rows),
        notes=(*notes(study, marks), *([LEGEND] if has_bold else [])),
        measures=measures,
        trends=bars,
    )


def measures_of(study: Study) -> tuple[str, ...]:
    """Return the names of the columns: over seeds, the loss has a spread and a share of solved."""
    if not study.is_over_seeds:
        return MEASURES
    has_criterion = any(map(solved_of, study.records))
    return (MEASURES[0], SPREAD, *([SHARE] if has_criterion else []), *MEASURES[1:])


def value_of(record: Record, measure: str) -> float | None:
    """Return the value by which rows are sorted in a column of ``measures_of``."""
    if measure == SPREAD:
        low, high = record.loss_spread if isinstance(record, SeedSummary) else (0.0, 0.0)
        return high - low
    if measure == SHARE:
        solved = solved_of(record)
        return None if solved is None else solved[0] / solved[1]
    [column] = [column for column in MEASURED if column.label == measure]
    value = record.figures.get(column.name)
    return None if value is None else float(value)


def _references(study: Study, measures: Sequence[str]) -> list[Row]:
    """Return the rows of the trivial and of the perfect predictor, if all records agree on them."""
    baselines = {length: study.baseline(length) for length in study.lengths}
    floors = {length: study.floor(length) for length in study.lengths}
    rows = []
    baseline = findings.shared_baseline_name(study.records)
    for name, losses in ((baseline, baselines), ("floor", floors)):
        entries = {
            n: _reference(loss, baselines[n], len(measures))
            for n, loss in losses.items()
            if loss is not None
        }
        if entries:
            labels = (name, *[""] * (len(study.networks.axes) - 1))
            rows.append(Row(labels, entries, reference=True))
    return rows


def _reference(loss: float, baseline: float | None, columns: int) -> tuple[CellText, ...]:
    multiple = f" ({ratio(loss / baseline)})" if baseline else ""
    return (CellText(number(loss) + multiple, style="dim"), *[CellText("")] * (columns - 1))


def _networks(
    study: Study, measures: Sequence[str], bold: Container[int], digits: int
) -> list[Row]:
    """Return the rows by network, the engines of a network side by side."""
    scale = LossScale.of(study.records)
    rows = []
    for labels, by_length in study.rows.items():
        entries = {
            n: _entry(record, measures, best=id(record) in bold) for n, record in by_length.items()
        }
        ids = {n: _id(record, digits) for n, record in by_length.items() if digits}
        bars = trends(by_length, study.lengths, scale)
        rows.append(Row(labels, entries, trends=bars, ids=ids))
    return rows


def _known_bars(rows: Sequence[Row]) -> tuple[tuple[str, ...], list[Row]]:
    """Return the names of the bars that any row has, and the rows with those bars alone."""
    kept = [n for n in range(len(TRENDS)) if any(row.trends and row.trends[n] for row in rows)]
    few = [replace(row, trends=tuple(row.trends[index] for index in kept)) for row in rows]
    return tuple(TRENDS[index] for index in kept), few


def _id(record: Record, digits: int) -> str:
    others = len(members_of(record)) - 1
    return record.trial.trial_id[:digits] + (f" +{others}" if others else "")


def _entry(record: Record, measures: Sequence[str], *, best: bool) -> tuple[CellText, ...]:
    cells = {column.label: _cell(column, record, best=best) for column in MEASURED}
    if SPREAD in measures:
        cells |= {SPREAD: _spread(record), SHARE: _share_solved(record)}
    if SHARE in measures and cells["loss"].mark == SOLVED:
        cells["loss"] = replace(cells["loss"], mark="")  # the share says it
    return tuple(cells[measure] for measure in measures)


def _spread(record: Record) -> CellText:
    if not isinstance(record, SeedSummary):
        return CellText(UNKNOWN)
    ends = record.loss_spread
    if math.isinf(ends[0]):
        return CellText(UNKNOWN, style="dim")
    low, high = ("inf" if math.isinf(end) else number(end) for end in ends)
    return CellText(f"{low}..{high}")


def _share_solved(record: Record) -> CellText:
    solved = solved_of(record)
    if solved is None:
        return CellText(UNKNOWN)
    low, high = proportion_interval(*solved)
    text = f"{solved[0]}/{solved[1]} ({100 * low:.0f}-{100 * high:.0f}%)"
    return CellText(text, style="good" if solved[0] == solved[1] else "")


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
    return CellText(f"{number(median)} (max {number(largest)})", style="bad")


def _speed(record: Record, *, best: bool) -> CellText:
    if record.status != "ok":
        return CellText(UNKNOWN, style="dim")
    names = ("tokens_per_second", "tokens_per_second_low", "tokens_per_second_high")
    text = interval(*(record.figures.get(name) for name in names))
    if "deviation" in record.details:
        return CellText(text, OTHER_FUNCTION, "warn")
    if findings.is_verified(record):
        return CellText(text, style="best" if best else "")
    return CellText(text, UNVERIFIED, "best" if best else "warn")


def _loss(record: Record) -> CellText:
    if record.status != "ok":
        style: CellStyle = "warn" if record.status in _MILD else "bad"
        return CellText(record.status.replace("_", " "), style=style)
    loss, multiple = record.figures.get("loss_validation"), record.figures.get("loss_ratio")
    text = number(loss) if multiple is None else f"{number(loss)} ({ratio(multiple)})"
    if record.figures.get("solved"):
        return CellText(text, SOLVED, "good")
    return CellText(text, BASELINE, "warn") if findings.at_baseline(record) else CellText(text)


def _horizon(record: Record) -> CellText:
    horizon, text = record.figures.get("gradient_horizon"), UNKNOWN
    if horizon is not None:
        text = f"{'>' * findings.is_censored(record)}{horizon:g}"
        if record.status != "ok":
            text += f" (step {record.horizon_step()})"
    if findings.is_exploding(record):
        return CellText(text, EXPLODING, "bad")
    return CellText(text, VANISHING, "bad") if findings.is_vanishing(record) else CellText(text)
