"""How many seeds of each network solved the task, and after how many steps and seconds."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contract.records.record import Record
from harness_results.study.networks import Labels
from harness_results.study.seeds.statistics import proportion_interval
from harness_results.study.seeds.summary import seconds_to_solve, solved_of, steps_to_solve
from harness_results.study.study import Study
from harness_results.text.format import UNKNOWN, seconds
from harness_results.text.grid import Grid

COLUMNS = ("solved", "95 %", "steps", "seconds")
NOTE = (
    "steps, seconds: until the task is first solved, the median over seeds by Kaplan and Meier; a "
    "seed that does not solve it, or fails, takes longer · seconds: of training steps alone"
)


def solving_table(study: Study) -> Grid | None:
    """Return the table of a task; None without several seeds or without a criterion."""
    if not study.is_over_seeds:
        return None
    rows = tuple(_rows(study))
    if not rows:
        return None
    return Grid(
        f"{study.task}: solved over seeds", (*study.networks.axes, "T"), COLUMNS, rows, (NOTE,)
    )


def _rows(study: Study) -> Iterator[tuple[Labels, tuple[str, ...]]]:
    width = max(len(str(length)) for length in study.lengths)
    for labels, by_length in study.rows.items():
        for length, record in sorted(by_length.items()):
            solved = solved_of(record)
            if solved is not None:
                yield (*labels, str(length).rjust(width)), _cells(record, solved)


def _cells(record: Record, solved: tuple[int, int]) -> tuple[str, ...]:
    low, high = proportion_interval(*solved)
    steps, trained = steps_to_solve(record)
    time, all_time = seconds_to_solve(record)
    never = UNKNOWN if all_time is None else f"not in {seconds(all_time)}"
    return (
        f"{solved[0]}/{solved[1]}",
        f"{100 * low:.0f} to {100 * high:.0f} %",
        f"not in {trained:,}" if steps is None else f"{steps:,.0f}",
        never if time is None else seconds(time),
    )
