"""How the gradient of a record exploded, in words."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contract.records.explosion import EXPLODING_DECAY
from harness.contract.records.record import Record
from harness.contract.wording import counted
from harness_results.study import findings
from harness_results.text.format import number


def explosion(record: Record) -> str | None:
    """Return how the gradient exploded, as part of a sentence; None if it did not."""
    return ", ".join(_words(record)) or None if findings.is_exploding(record) else None


def _words(record: Record) -> Iterator[str]:
    largest, usual = (record.figures.get(f"gradient_norm_{name}") for name in ("max", "median"))
    if largest is not None:
        yield f"largest gradient norm {number(largest)} (median {number(usual)})"
    decay, step = record.figures.get("gradient_decay"), record.horizon_step()
    if decay is not None and decay > EXPLODING_DECAY:
        yield f"x {number(decay)} per step back"
    if step is not None:
        yield f"horizon after {counted(step, 'step')}" if step else "horizon before training"
