"""Some of the records, by task, cell, engine and length; unknown names are errors."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.contract.errors import UnknownNameError, UsageError
from harness.contract.records.evaluated import evaluated, only_at
from harness.contract.records.record import Record

ALL = "all"  # BACKEND:all


@dataclass(frozen=True)
class Selection:
    """The wanted values of each axis; an empty axis means all values.

    Attributes:
        tasks: names.
        cells: names.
        backends: BACKEND (all its variants), BACKEND:VARIANT or BACKEND:all.
        lengths: T; unlike a name, a length that no record has is not an error.
        evaluated_at: other lengths at which the networks were judged; what they reached at the rest
            is left out.
    """

    tasks: Sequence[str] = ()
    cells: Sequence[str] = ()
    backends: Sequence[str] = ()
    lengths: Sequence[int] = ()
    evaluated_at: Sequence[int] = ()

    def of(self, records: Iterable[Record]) -> list[Record]:
        """Return the records that are wanted, in their order.

        Raises:
            UnknownNameError: no record has one of the names.
            UsageError: no record matches all axes.
        """
        candidates = list(records)
        _check("task", self.tasks, (record.trial.task for record in candidates))
        _check("cell", self.cells, (record.trial.cell for record in candidates))
        engines = itertools.chain.from_iterable(map(_names, candidates))
        _check("backend", map(_engine, self.backends), engines)
        chosen = [record for record in candidates if self._wants(record)]
        if not chosen and candidates:
            lengths = ", ".join(map(str, sorted({record.trial.length for record in candidates})))
            raise UsageError(
                "no record is all of what was asked for; take an option away. "
                f"Lengths here: {lengths}"
            )
        if not self.evaluated_at:
            return chosen
        judged = {each.length for record in chosen for each in evaluated(record) if each.is_length}
        if judged.isdisjoint(self.evaluated_at):
            here = (
                f"lengths here: {', '.join(map(str, sorted(judged)))}"
                if judged
                else ("train with --evaluate-at")
            )
            raise UsageError(f"no network was judged at one of these other lengths; {here}")
        return [only_at(record, self.evaluated_at) for record in chosen]

    def missing_lengths(self, records: Iterable[Record]) -> list[int]:
        """Return the wanted lengths that no record has."""
        return sorted(set(self.lengths) - {record.trial.length for record in records})

    def _wants(self, record: Record) -> bool:
        trial, engines = record.trial, set(map(_engine, self.backends))
        wanted = ((trial.task, self.tasks), (trial.cell, self.cells), (trial.length, self.lengths))
        matches = all(not names or value in names for value, names in wanted)
        return matches and (not engines or not engines.isdisjoint(_names(record)))


def with_groups(
    backends: Iterable[str], records: Iterable[Record], groups: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return the backends with each group replaced by its members among the records."""
    here = {record.trial.backend for record in records}
    members = {
        group: [name for name in names if name in here]
        for group, names in groups.items()
        if group not in here
    }
    return [name for backend in backends for name in (members.get(backend) or [backend])]


def _names(record: Record) -> tuple[str, str]:
    return record.trial.backend, record.trial.engine


def _engine(backend: str) -> str:
    return backend.removesuffix(f":{ALL}")


def _check(kind: str, asked: Iterable[str], held: Iterable[str]) -> None:
    names = dict.fromkeys(held)
    for name in asked:
        if name not in names:
            raise UnknownNameError(f"{kind} among these records", name, names)
