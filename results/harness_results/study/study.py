"""The records of one task; what tables, charts and verdicts need is computed once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.contract.records.record import Record
from harness_results.study import findings
from harness_results.study.machines import machine_names
from harness_results.study.networks import Labels, Networks, in_order, networks
from harness_results.study.seeds.summary import SeedSummary, each_seed
from harness_results.text.format import number


@dataclass(frozen=True, eq=False)
class Study:
    """One task's records; at least one.

    Attributes:
        records: in the order of a report; several seeds of a network may be one record.
    """

    records: Sequence[Record]

    @property
    def task(self) -> str:
        """The name of the task."""
        return self.records[0].trial.task

    @cached_property
    def trials(self) -> list[Record]:
        """The record of each seed."""
        return each_seed(self.records)

    @property
    def is_over_seeds(self) -> bool:
        """Whether any record stands for several seeds."""
        return any(isinstance(record, SeedSummary) for record in self.records)

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Every length of the records, the shortest first."""
        return tuple(sorted({record.trial.length for record in self.records}))

    @cached_property
    def machines(self) -> Mapping[str | None, str]:
        """The name of each environment, if records must be told apart by machine."""
        return machine_names(self.records)

    @cached_property
    def networks(self) -> Networks:
        """The labels of the records, and the settings that they share."""
        return networks(self.records, self.machines)

    @property
    def labelled(self) -> Iterable[tuple[Labels, Record]]:
        """Each record with its labels."""
        return zip(self.networks.labels, self.records, strict=True)

    @cached_property
    def rows(self) -> dict[Labels, dict[int, Record]]:
        """The records by label and length, the engines of a network side by side."""
        rows: dict[Labels, dict[int, Record]] = {
            label: {} for label in in_order(self.networks.labels)
        }
        for label, record in self.labelled:
            rows[label][record.trial.length] = record
        return rows

    def baseline(self, length: int) -> float | None:
        """Return the baseline's loss on the validation batches; the exact one if those differ."""
        on_batches = _agreed(record.figures.get("loss_baseline") for record in self._at(length))
        if on_batches is not None:
            return on_batches
        return _agreed(findings.exact_baseline(record) for record in self._at(length))

    def floor(self, length: int) -> float | None:
        """Return the floor of the loss; None if the records differ, as on two texts."""
        floors = {
            record.figures.get("loss_floor")
            for record in self._at(length)
            if record.figures.get("loss_baseline") is not None
            or record.figures.get("loss_floor") is not None
        }
        return floors.pop() if len(floors) == 1 else None

    def _at(self, length: int) -> list[Record]:
        return [record for record in self.records if record.trial.length == length]


def studies(records: Iterable[Record]) -> list[Study]:
    """Return the study of each task, in the order in which tasks appear."""
    tasks: dict[str, list[Record]] = {}
    for record in records:
        tasks.setdefault(record.trial.task, []).append(record)
    return [Study(members) for members in tasks.values()]


def _agreed(values: Iterable[float | None]) -> float | None:
    distinct = set(values) - {None}
    return distinct.pop() if len({number(value, 6) for value in distinct}) == 1 else None
