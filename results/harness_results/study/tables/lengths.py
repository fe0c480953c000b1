"""Trained at T, evaluated at other lengths and on the task's named sets."""

from __future__ import annotations

from harness.contract.records.evaluated import TEST, Evaluated, at_lengths, evaluated
from harness.contract.records.record import Record
from harness_results.study.findings import shared_baseline_name
from harness_results.study.study import Study
from harness_results.study.tables.pivot import SOLVED
from harness_results.text.format import UNKNOWN, one_line, ratio
from harness_results.text.grid import Grid


def lengths_table(study: Study) -> Grid | None:
    """Return the table of a task; None if no network was judged there.

    A row is a network trained at one length. A column is the length of the sequences on which it
    was judged, or the name of a set. The set ``test`` alone makes no table.
    """
    rows = [
        (labels, record, _by_column(record))
        for labels, by_length in study.rows.items()
        for _, record in sorted(by_length.items())
    ]
    rows = [row for row in rows if set(row[2]) - {TEST}]
    if not rows:
        return None
    lengths = sorted({name for *_, cells in rows for name in cells if isinstance(name, int)})
    names = dict.fromkeys(name for *_, cells in rows for name in cells if isinstance(name, str))
    columns: list[int | str] = [*lengths, *names]
    heads = [f"at {name}" if isinstance(name, int) else one_line(name) for name in columns]
    has_accuracy = any(cell.accuracy is not None for *_, cells in rows for cell in cells.values())
    baseline = shared_baseline_name(study.records)
    figure = "accuracy" if has_accuracy else f"loss as a multiple of {baseline}"
    return Grid(
        title=f"{study.task}: {figure}, trained at T, evaluated at other lengths",
        axes=(*study.networks.axes, "T"),
        columns=tuple(heads),
        rows=tuple(
            (
                (*labels, str(record.trial.length)),
                tuple(_cell(cells.get(name), has_accuracy=has_accuracy) for name in columns),
            )
            for labels, record, cells in rows
        ),
        notes=(f"{SOLVED} solved by the task's criterion, on held-out data of that length",),
    )


def _by_column(record: Record) -> dict[int | str, Evaluated]:
    """Return the figures by length, then by the name of the set; none if the trial failed."""
    if record.status != "ok":
        return {}
    by_length: dict[int | str, Evaluated] = {}
    for each in at_lengths(record):
        by_length.setdefault(each.length, each)
    return by_length | {each.name: each for each in evaluated(record) if not each.is_length}


def _cell(each: Evaluated | None, *, has_accuracy: bool) -> str:
    if each is None:
        return ""
    value = each.accuracy if has_accuracy else each.loss_ratio
    if value is None:
        return UNKNOWN
    text = f"{value:.3f}" if has_accuracy else ratio(value)
    return f"{text} {SOLVED if each.solved else ' '}"
