"""All tables of a report, in order of tasks."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from harness.contract.records.record import Record
from harness_results.study.study import Study, studies
from harness_results.study.tables.crossover import crossover_table
from harness_results.study.tables.data_parallel import data_parallel_table
from harness_results.study.tables.limits import limits
from harness_results.study.tables.notes import reading
from harness_results.study.tables.pivot import Pivot, pivot
from harness_results.study.tables.relative import relative
from harness_results.study.tables.scaling_table import scaling_tables
from harness_results.study.verdicts.fastest import fastest
from harness_results.text.grid import Grid


@dataclass(frozen=True)
class Report:
    """The tables, and how to read their columns; empty if the notes say it."""

    tables: tuple[Pivot | Grid, ...]
    reading: str


def report(records: Sequence[Record]) -> Report:
    """Return the tables of these records; none of no records."""
    tasks = studies(records)
    bold = fastest(tasks)
    tables = [table for study in tasks for table in of_task(study, bold)]
    return Report(tuple(tables), reading(records))


def relative_report(records: Sequence[Record], base: str) -> Report:
    """Return the engines side by side, as multiples of ``base``.

    Raises:
        UnknownNameError: no record is of that engine.
    """
    return Report(tuple(relative(records, base)), reading="")


def of_task(study: Study, bold: Container[int]) -> list[Pivot | Grid]:
    """Return the tables of one task.

    Args:
        study: the task.
        bold: the ``id`` of the records that are the fastest of several.
    """
    others = (crossover_table(study), data_parallel_table(study), limits(study))
    further = [table for table in others if table is not None]
    return [pivot(study, bold), *scaling_tables(study), *further]
