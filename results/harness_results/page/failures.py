"""Trials that did not end well, by what happened: status, reason, where, and the end of one log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.contract.records.record import Record
from harness_results.render.show import LOGS
from harness_results.text.format import one_line, safe

MOST = 200  # groups shown
LOG_CHARACTERS = 3000


@dataclass(frozen=True)
class Failure:
    """The trials of one task, cell and engine that ended in one way for one reason.

    Attributes:
        records: of these trials, by length.
        status: in words.
        reason: on one line.
        log: the end of the first log that is known; empty: none.
    """

    records: tuple[Record, ...]
    status: str
    reason: str
    log: str

    @property
    def lengths(self) -> list[int]:
        """The lengths, each once."""
        return sorted({record.trial.length for record in self.records})


def failures(records: Iterable[Record]) -> list[Failure]:
    """Return what did not end well, what happened most first."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        if record.status != "ok":
            trial = record.trial
            key = (record.status, _reason(record), trial.task, trial.cell, trial.engine)
            groups.setdefault(key, []).append(record)
    found = [
        _failure(sorted(group, key=lambda record: record.trial.length)) for group in groups.values()
    ]
    return sorted(found, key=lambda failure: -len(failure.records))


def _failure(group: Sequence[Record]) -> Failure:
    logs = (_log(record) for record in group)
    first = group[0]
    return Failure(
        tuple(group), first.status.replace("_", " "), _reason(first), next(filter(None, logs), "")
    )


def _reason(record: Record) -> str:
    return one_line(record.reason or "no reason was given")


def _log(record: Record) -> str:
    found = (record.details.get(name) for name in LOGS)
    texts = (
        "\n".join(map(str, one)) if isinstance(one, list | tuple) else str(one)
        for one in found
        if one
    )
    return safe("\n\n".join(texts))[-LOG_CHARACTERS:].strip("\n")
