"""What trained networks reach on further held-out data: at other lengths, and on named sets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.contract.records.record import Record

TEST = "test"  # the set by which nothing was chosen


@dataclass(frozen=True)
class Evaluated:
    """The figures of a trained network on one set.

    Attributes:
        name: of the set; ``T=40`` if it is the same task at another length.
        length: of its sequences, as the task counts them.
        loss: mean loss.
        accuracy: None if the task has none.
        loss_ratio: loss / loss of the baseline on the same batches.
        solved: whether the task's criterion holds there.
        extra: further scores of the task.
    """

    name: str
    length: int
    loss: float | None = None
    accuracy: float | None = None
    loss_ratio: float | None = None
    solved: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_length(self) -> bool:
        """Whether it is the same task at another length."""
        return self.name == f"T={self.length}"


def evaluated(record: Record) -> list[Evaluated]:
    """Return the figures on each set of a record; none of an earlier version."""
    content = record.details.get("evaluation_sets")
    entries = content if isinstance(content, list | tuple) else ()
    return [_read(entry) for entry in entries if isinstance(entry.get("length"), int)]


def only_at(record: Record, lengths: Collection[int]) -> Record:
    """Return the record without the figures at other lengths than these; named sets stay."""
    entries = record.details.get("evaluation_sets")
    if not isinstance(entries, list | tuple):
        return record
    wanted = {
        each.name for each in evaluated(record) if not each.is_length or each.length in lengths
    }
    kept = [entry for entry in entries if str(entry.get("name")) in wanted]
    return replace(record, details={**record.details, "evaluation_sets": kept})


def on_test(record: Record) -> Evaluated | None:
    """Return the figures on the test set; None if the task has none."""
    return next((each for each in evaluated(record) if each.name == TEST), None)


def at_lengths(record: Record) -> list[Evaluated]:
    """Return the figures at the trained length, on validation, and at each other, ascending.

    Empty if the network was judged at no other length.
    """
    others = [each for each in evaluated(record) if each.is_length]
    if not others:
        return []
    figures = record.figures
    trained = Evaluated(
        "validation",
        record.trial.length,
        figures.get("loss_validation"),
        figures.get("accuracy"),
        figures.get("loss_ratio"),
        bool(figures.get("solved")),
    )
    return sorted([trained, *others], key=lambda each: (each.length, each.is_length))


def _read(entry: Mapping[str, Any]) -> Evaluated:
    extra = entry.get("extra")
    return Evaluated(
        str(entry.get("name")),
        entry["length"],
        entry.get("loss_validation"),
        entry.get("accuracy"),
        entry.get("loss_ratio"),
        bool(entry.get("solved")),
        extra if isinstance(extra, Mapping) else {},
    )
