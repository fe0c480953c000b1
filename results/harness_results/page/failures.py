"""Trials that did not end well, grouped by status and reason, with the end of one log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from harness.contract.records.record import Record
from harness_results.render.show import LOGS
from harness_results.text.format import one_line, safe

MOST = 200  # groups on a page
LOG_CHARACTERS = 3000


@dataclass(frozen=True)
class Failure:
    """The trials of one task, cell and engine with the same status and reason.

    Attributes:
        records: of these trials, by length.
        status: in words.
        reason: on one line.
        log: the end of the first log; empty if there is none.
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
    """Return what did not end well, the largest group first."""
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        if record.status != "ok":
            trial = record.trial
            key = (record.status, _reason(record), trial.task, trial.cell, trial.engine)
            groups[key].append(record)
    largest_first = sorted(groups.values(), key=lambda group: -len(group))
    return [_failure(group) for group in largest_first]


def _failure(group: Iterable[Record]) -> Failure:
    records = sorted(group, key=lambda record: record.trial.length)
    status = records[0].status.replace("_", " ")
    log = next(filter(None, map(_log, records)), "")
    return Failure(tuple(records), status, _reason(records[0]), log)


def _reason(record: Record) -> str:
    return one_line(record.reason or "no reason was given")


def _log(record: Record) -> str:
    texts = []
    for content in map(record.details.get, LOGS):
        if content:
            lines = content if isinstance(content, list | tuple) else [content]
            texts.append("\n".join(map(str, lines)))
    return safe("\n\n".join(texts))[-LOG_CHARACTERS:].strip("\n")
