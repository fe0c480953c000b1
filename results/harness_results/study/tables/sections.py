"""All tables of a report, in order of tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Sequence
from dataclasses import dataclass, replace

from harness.contract.records.record import Record
from harness_results.study.seeds.summary import over_seeds
from harness_results.study.seeds.table import solving_table
from harness_results.study.study import Study, studies
from harness_results.study.tables.best_of import best_of
from harness_results.study.tables.brief import brief_notes
from harness_results.study.tables.crossover import crossover_table
from harness_results.study.tables.data_parallel import data_parallel_table
from harness_results.study.tables.ladder import ladder_table
from harness_results.study.tables.lengths import lengths_table
from harness_results.study.tables.limits import limits
from harness_results.study.tables.notes import reading
from harness_results.study.tables.pivot import Pivot, pivot
from harness_results.study.tables.probes import probe_tables
from harness_results.study.tables.relative import relative
from harness_results.study.tables.scaling_table import scaling_tables
from harness_results.study.tables.summary import summary
from harness_results.study.verdicts.fastest import fastest
from harness_results.text.grid import Grid

FEWEST_DIGITS, MORE_DIGITS = 4, 2  # of ids; digits more than tell the trials apart
Tables = Iterable[Pivot | Grid | None]
FURTHER: dict[str, Callable[[Study], Tables]] = {
    "lengths": lambda study: (lengths_table(study),),
    "probes": probe_tables,
    "scaling": scaling_tables,
    "crossover": lambda study: (crossover_table(study),),
    "devices": lambda study: (data_parallel_table(study),),
    "limits": lambda study: (limits(study),),
    "solving": lambda study: (solving_table(study),),
}
OF_A_RUN = ("lengths", "solving", "crossover", "devices")  # they answer what a run asks


@dataclass(frozen=True)
class Report:
    """The tables, and how to read their columns; empty if the notes say it."""

    tables: tuple[Pivot | Grid, ...]
    reading: str


def report(records: Sequence[Record], *, per_seed: bool = False) -> Report:
    """Return the tables of these records; none of no records.

    Args:
        records: one per trial.
        per_seed: a row for each seed, instead of one for all seeds of a network.
    """
    tasks = studies(records if per_seed else over_seeds(records))
    bold, digits = fastest(tasks), id_digits(records)
    tables = [table for study in tasks for table in of_task(study, bold, digits)]
    return Report((*tables, *across(tasks)), reading(records))


def run_report(
    records: Sequence[Record], further: Collection[str] = OF_A_RUN, *, per_seed: bool = False
) -> Report:
    """Return the tables that a run prints, with short notes and what they mean.

    Args:
        records: of the run.
        further: the names in ``FURTHER`` of the tables below the main one of each task.
        per_seed: as for ``report``.
    """
    tasks = studies(records if per_seed else over_seeds(records))
    bold, digits = fastest(tasks), id_digits(records)
    tables: list[Pivot | Grid] = []
    for study in tasks:
        main, sentences = pivot(study, bold, digits), summary(study)
        notes = (*brief_notes(study, main), *(("", sentences) if sentences else ()))
        tables += [replace(main, notes=notes), *further_tables(study, further)]
    return Report((*tables, *across(tasks)), reading="")


def relative_report(records: Sequence[Record], base: str, *, per_seed: bool = False) -> Report:
    """Return the engines side by side, as multiples of ``base``.

    Raises:
        UnknownNameError: no record is of that engine.
    """
    rows = records if per_seed else over_seeds(records)
    return Report(tuple(relative(rows, base)), reading="")


def best_of_report(records: Sequence[Record], setting: str) -> Report:
    """Return, for each network, the best value of a setting and what it reaches on the test split.

    Raises:
        UsageError: nothing can be chosen by this setting.
    """
    return Report(tuple(best_of(records, setting)), reading="")


def of_task(study: Study, bold: Container[int], digits: int = 0) -> list[Pivot | Grid]:
    """Return the tables of one task.

    Args:
        study: the task.
        bold: the ``id`` of the records that are the fastest of several.
        digits: how many digits of each trial's id the rows keep.
    """
    return [pivot(study, bold, digits), *further_tables(study, FURTHER)]


def further_tables(study: Study, names: Collection[str]) -> list[Pivot | Grid]:
    """Return the tables of these names in ``FURTHER``, if the records have what they need."""
    makers = [tables_of for name, tables_of in FURTHER.items() if name in names]
    tables = [table for tables_of in makers for table in tables_of(study)]
    return [table for table in tables if table is not None]


def across(tasks: Sequence[Study]) -> list[Grid]:
    """Return the tables over all tasks, if the records have what they need."""
    ladder = ladder_table(tasks)
    return [] if ladder is None else [ladder]


def id_digits(records: Sequence[Record]) -> int:
    """Return how many digits of the ids of these trials to show."""
    ids = {record.trial.trial_id for record in records}
    digits = 1
    while len({id_[:digits] for id_ in ids}) < len(ids):
        digits += 1
    return max(FEWEST_DIGITS, digits + MORE_DIGITS)
