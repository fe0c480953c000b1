"""What the seeds of a network reach on further held-out data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Literal

from harness.contract.records.evaluated import Evaluated, at_lengths, evaluated
from harness.contract.records.record import Record
from harness_results.study.seeds.summary import outcomes_of

Column = int | str  # the length at which a network is judged, or the name of a set
Figure = Literal["accuracy", "loss_ratio"]
WORST: dict[Figure, float] = {"accuracy": 0.0, "loss_ratio": math.inf}  # of a seed that failed


def by_column(record: Record) -> dict[Column, list[Evaluated | None]]:
    """Return the figures of each seed by length, ascending, then by the name of the set.

    A seed that did not end well has None. There is no column if no seed was judged.
    """
    seeds = [_of_seed(each) for each in outcomes_of(record)]
    columns = dict.fromkeys(column for each in seeds for column in each)
    return {column: [each.get(column) for each in seeds] for column in columns}


def values_of(seeds: Sequence[Evaluated | None], figure: Figure) -> list[float | None]:
    """Return a figure of each seed; the worst of a seed that failed; None: it is not known."""
    return [WORST[figure] if each is None else getattr(each, figure) for each in seeds]


def median_of(seeds: Sequence[Evaluated | None], figure: Figure) -> float | None:
    """Return the median over seeds; None if a figure is not known, or too many seeds failed."""
    values = [value for value in values_of(seeds, figure) if value is not None]
    middle = median(values) if len(values) == len(seeds) else math.inf
    return middle if math.isfinite(middle) else None


def solved_by(seeds: Sequence[Evaluated | None]) -> int:
    """Return how many seeds meet the task's criterion."""
    return sum(each is not None and each.solved for each in seeds)


def _of_seed(record: Record) -> dict[Column, Evaluated]:
    if record.status != "ok":
        return {}
    columns: dict[Column, Evaluated] = {}
    for each in at_lengths(record):
        columns.setdefault(each.length, each)
    return columns | {each.name: each for each in evaluated(record) if not each.is_length}
