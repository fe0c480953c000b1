"""What probes measured of the trained networks: one table per probe."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contract.records.probed import Probed, probed
from harness_results.study.study import Study
from harness_results.text.format import number, one_line
from harness_results.text.grid import Grid

OVER_SEEDS = "medians over seeds"


def probe_tables(study: Study) -> Iterator[Grid]:
    """Yield a table for each probe that measured a network of this task.

    A row is a network trained at one length, a column a figure of the probe.
    """
    rows = [
        ((*labels, str(length)), probed(record.details))
        for labels, by_length in study.rows.items()
        for length, record in sorted(by_length.items())
    ]
    for name in dict.fromkeys(name for _, results in rows for name in results):
        of_probe = [(labels, results[name]) for labels, results in rows if name in results]
        measured = [(labels, each) for labels, each in of_probe if each.figures]
        if measured:
            yield _table(study, name, measured)


def _table(study: Study, name: str, rows: list[tuple[tuple[str, ...], Probed]]) -> Grid:
    figures = [
        figure
        for figure in dict.fromkeys(figure for _, each in rows for figure in each.figures)
        if any(each.figures.get(figure) is not None for _, each in rows)
    ]
    says = {figure: text for _, each in rows for figure, text in each.says.items()}
    explained = [figure for figure in figures if figure in says]
    notes = [f"{one_line(figure)}: {one_line(says[figure])}" for figure in explained]
    if study.is_over_seeds:
        notes.append(OVER_SEEDS)
    return Grid(
        title=f"{study.task}: probe {one_line(name)}",
        axes=(*study.networks.axes, "T"),
        columns=tuple(map(one_line, figures)),
        rows=tuple(
            (labels, tuple(number(each.figures.get(figure)) for figure in figures))
            for labels, each in rows
        ),
        notes=tuple(notes),
    )
