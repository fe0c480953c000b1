"""Samples of text that records keep: which are worth showing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.contract.record import Record
from harness_results.text import one_line, safe


def worth_showing(records: Iterable[Record]) -> list[Record]:
    """Return, of each engine, interpreter and cell, the network with the lowest validation loss that wrote a text."""
    best: dict[tuple[str, str | None, str], Record] = {}
    for record in records:
        if record.status == "ok" and record.details.get("samples"):
            key = (record.trial.engine, record.trial.python, record.trial.cell)
            if key not in best or _loss(record) < _loss(best[key]):
                best[key] = record
    return list(best.values())


def _loss(record: Record) -> float:
    loss = record.figures.get("loss_validation")
    return float("inf") if loss is None else float(loss)


def texts(record: Record) -> list[tuple[str, str]]:
    """Return the temperature and the text of each sample, safe to show."""
    samples = (sample for sample in record.details.get("samples") or () if isinstance(sample, Mapping))
    return [(one_line(sample.get("temperature")), safe(sample.get("text")).strip("\n")) for sample in samples]
