"""Checks of an exporter: its declaration, and what it makes of records of all kinds."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import partial

from harness.contract import Exporter, HarnessError, Record, Trial
from harness.plugins.declarations import check_declaration
from harness.plugins.exporting import exported
from harness.testing.compare import Check

WORDS = "</td> [bold] \x1b[31m =1+1 \\input{x} | \ud800"  # no format may stumble over them


def sample_records() -> list[Record]:
    """Return the records of two seeds, of a trial that failed, and of one with odd text."""
    trial = Trial(backend="numpy", variant="loop", task="copy", cell="lstm", length=20, steps=3)
    figures = {"loss_validation": 0.5, "loss_baseline": 1.0, "tokens_per_second": 1e3}
    seeds = [trial.model_copy(update={"seed": seed}) for seed in range(2)]
    failed, odd = (trial.model_copy(update={"length": length}) for length in (40, 80))
    return [
        *(Record(each, "ok", figures=figures, curves={"loss": [1.0, 0.5, None]}) for each in seeds),
        Record(failed, "failed", reason="it failed"),
        Record(odd, "failed", reason=WORDS, details={"flags": [WORDS]}),
    ]


def checks_for_exporter(exporter: Exporter) -> Iterator[Check]:
    """Yield every check of an exporter."""
    yield Check("it_declares_itself_sanely", partial(it_declares_itself_sanely, exporter))
    for count in (1, len(sample_records())):
        for per_seed in (False, True):
            records = sample_records()[:count]
            check = partial(equal_records_give_equal_content, exporter, records, per_seed=per_seed)
            variant = f"{count} records, per_seed={per_seed}"
            yield Check("equal_records_give_equal_content", check, variant=variant)


def it_declares_itself_sanely(exporter: Exporter) -> None:
    """The name and the suffixes are valid."""
    try:
        check_declaration("exporter", exporter)
    except HarnessError as error:
        raise AssertionError(str(error)) from error


def equal_records_give_equal_content(
    exporter: Exporter, records: Sequence[Record], *, per_seed: bool
) -> None:
    """Two calls give the same text or bytes, not empty, and the records stay as they are."""
    untouched = copy.deepcopy(records)
    try:
        first, second = (
            exported(exporter, records, exporter.name, per_seed=per_seed) for _ in range(2)
        )
    except HarnessError as error:
        raise AssertionError(str(error)) from error
    assert first == second, "two calls give different content"
    assert first, "it is empty"
    if isinstance(first, str):
        first.encode("utf-8")  # a file has to hold it
    assert records == untouched, "it changes the records"
