"""The ladder as a table: a row for each network, a column for each rung."""

from __future__ import annotations

from collections.abc import Sequence

from harness_results.study.seeds.ladder import FEWEST_SEEDS, Rung, rungs_of
from harness_results.study.study import Study
from harness_results.study.tables.pivot import SOLVED
from harness_results.text.format import UNKNOWN
from harness_results.text.grid import Grid

FEWEST_RUNGS = 2
COLUMN = "climbed"


def ladder_table(tasks: Sequence[Study]) -> Grid | None:
    """Return the table over all tasks; None if fewer than two rungs were judged at other lengths.

    A row is a network on one engine. Its column ``climbed`` counts the rungs that it climbed.
    """
    rungs = rungs_of(tasks)
    names = list(dict.fromkeys(rung.name for rung in rungs))
    if len(names) < FEWEST_RUNGS:
        return None
    rows: dict[tuple[str, str], dict[str, Rung]] = {}
    for rung in rungs:
        rows.setdefault((rung.network, rung.record.trial.engine), {})[rung.name] = rung
    return Grid(
        title="ladder: solved at every length, accuracy at the longest",
        axes=("cell", "engine"),
        columns=(COLUMN, *names),
        rows=tuple(
            (labels, (_climbed(by_name), *(_cell(by_name.get(name)) for name in names)))
            for labels, by_name in rows.items()
        ),
        notes=(_note(rungs),),
        across=True,
    )


def _climbed(by_name: dict[str, Rung]) -> str:
    if max(rung.seeds for rung in by_name.values()) < FEWEST_SEEDS:
        return UNKNOWN
    return f"{sum(rung.is_climbed for rung in by_name.values())}/{len(by_name)}"


def _cell(rung: Rung | None) -> str:
    if rung is None:
        return ""
    accuracy = UNKNOWN if rung.accuracy is None else f"{rung.accuracy:.2f}"
    mark = SOLVED if rung.is_climbed else " "
    return f"{rung.solved}/{rung.seeds} {accuracy} {mark}"


def _note(rungs: Sequence[Rung]) -> str:
    lengths = {rung.lengths for rung in rungs}
    where = ""
    if len(lengths) == 1:
        where = f", at T = {', '.join(map(str, lengths.pop()))}"
    return (
        f"seeds that solve the task by its criterion at every length{where} · accuracy: median "
        f"over seeds · {SOLVED} climbed: four of five seeds, and at least {FEWEST_SEEDS} seeds"
    )
