"""Trained at T, evaluated at other lengths and on the task's named sets."""

from __future__ import annotations

from collections.abc import Sequence

from harness.contract.records.evaluated import TEST, Evaluated
from harness_results.study.findings import shared_baseline_name
from harness_results.study.seeds.evaluated import (
    Column,
    Figure,
    by_column,
    median_of,
    solved_by,
    values_of,
)
from harness_results.study.study import Study
from harness_results.study.tables.pivot import SOLVED
from harness_results.text.format import UNKNOWN, one_line, ratio
from harness_results.text.grid import Grid

NOTE = f"{SOLVED} solved by the task's criterion, on held-out data of that length"
OVER_SEEDS = "median over seeds, and how many of them solve it by the task's criterion"


def lengths_table(study: Study) -> Grid | None:
    """Return the table of a task; None if no network was judged there.

    A row is a network trained at one length. A column is the length of the sequences on which it
    was judged, or the name of a set. The set ``test`` alone makes no table.
    """
    rows = [
        ((*labels, str(length)), by_column(record))
        for labels, by_length in study.rows.items()
        for length, record in sorted(by_length.items())
    ]
    rows = [(labels, cells) for labels, cells in rows if set(cells) - {TEST}]
    if not rows:
        return None
    every = dict.fromkeys(column for _, cells in rows for column in cells)
    lengths = sorted(column for column in every if isinstance(column, int))
    columns: list[Column] = [*lengths, *(name for name in every if isinstance(name, str))]
    seeds = [each for _, cells in rows for each in cells.values()]
    has_accuracy = any(value is not None for each in seeds for value in values_of(each, "accuracy"))
    figure: Figure = "accuracy" if has_accuracy else "loss_ratio"
    baseline = shared_baseline_name(study.records)
    shows = "accuracy" if has_accuracy else f"loss as a multiple of {baseline}"
    return Grid(
        title=f"{study.task}: {shows}, trained at T, evaluated at other lengths",
        axes=(*study.networks.axes, "T"),
        columns=tuple(
            f"at {column}" if isinstance(column, int) else one_line(column) for column in columns
        ),
        rows=tuple(
            (labels, tuple(_cell(cells.get(column), figure) for column in columns))
            for labels, cells in rows
        ),
        notes=(OVER_SEEDS if study.is_over_seeds else NOTE,),
    )


def _cell(seeds: Sequence[Evaluated | None] | None, figure: Figure) -> str:
    if not seeds:
        return ""
    value, solved = median_of(seeds, figure), solved_by(seeds)
    mark = f"{solved}/{len(seeds)}" if len(seeds) > 1 else SOLVED if solved else " "
    if value is None:
        return f"{UNKNOWN} {mark}".rstrip()
    return f"{value:.3f} {mark}" if figure == "accuracy" else f"{ratio(value)} {mark}"
