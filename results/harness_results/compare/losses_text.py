"""A comparison of losses as a table or JSON lines."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from harness.contract.records.record import finite
from harness_results.compare.losses import LossComparison, LossRow
from harness_results.compare.table import VerdictTable
from harness_results.compare.text import HOLM, OF_TRIAL, by_remark, names
from harness_results.text.format import UNKNOWN, number

HEADINGS = ("network", "pairs", "base", "new", "difference", "95 % interval", "p", "verdict")
STYLES = {"better": "green", "worse": "bold red", "missing": "bold red", "cannot_tell": "yellow"}
READING = (
    "base, new: final validation loss, median over the pairs · difference: new less base, the "
    "median of the pairs of equal seed with its interval · p: by flipping signs, adjusted · a seed "
    "that did not end well counts as the worst"
)


def loss_table(comparison: LossComparison, axis: str | None = None) -> VerdictTable:
    """Return the table, with lines below it; names leave out the field ``axis``."""
    rows = comparison.rows
    named = names([row.trial for row in rows], axis, over_seeds=True)
    return VerdictTable(
        HEADINGS,
        [(name, *_cells(row)) for name, row in zip(named, rows, strict=True)],
        [STYLES.get(row.verdict, "") for row in rows],
        list(_lines(comparison, named)),
        READING,
    )


def loss_rows(comparison: LossComparison) -> list[Any]:
    """Return one object per network, and a last one, ``{"suite": ...}``, with the whole."""
    suite = {
        "verdicts": comparison.counts,
        "tests": comparison.tests,
        "regressions": sum(bool(row.regressions) for row in comparison.rows),
    }
    return [finite(item) for item in (*map(_flat, comparison.rows), {"suite": suite})]


def _flat(row: LossRow) -> dict[str, Any]:
    low, high = row.interval or (None, None)
    trial = {name: getattr(row.trial, name) for name in OF_TRIAL if name != "trial_id"}
    return {
        "verdict": row.verdict,
        "reason": row.reason,
        "regressions": list(row.regressions),
        **trial,
        "seeds": list(row.seeds),
        "base_losses": list(row.base),
        "new_losses": list(row.new),
        "difference": row.difference,
        "low": low,
        "high": high,
        "p_value": row.p_value,
        "p_adjusted": row.p_adjusted,
        "unpaired": list(row.unpaired),
    }


def _cells(row: LossRow) -> tuple[str, ...]:
    verdict = row.verdict.replace("_", " ") + (" ✗" if row.regressions else "")
    if not row.seeds:
        return (*[UNKNOWN] * 6, verdict)
    interval = UNKNOWN
    if row.interval is not None:
        interval = " .. ".join(map(_signed, row.interval))
    return (
        str(len(row.seeds)),
        *map(_median, (row.base, row.new)),
        _signed(row.difference),
        interval,
        number(row.p_adjusted, 2),
        verdict,
    )


def _median(losses: tuple[float, ...]) -> str:
    ordered = sorted(losses)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return "inf" if math.isinf(high) else number((low + high) / 2)


def _signed(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    if math.isinf(value):
        return f"{value:+}"
    return ("+" if value > 0 else "") + number(value)


def _lines(comparison: LossComparison, named: list[str]) -> Iterator[str]:
    yield "verdicts: " + ", ".join(
        f"{n} {verdict.replace('_', ' ')}" for verdict, n in comparison.counts.items()
    )
    if comparison.tests > 1:
        yield HOLM.format(comparison.tests)
    yield from by_remark(named, map(_remarks, comparison.rows))


def _remarks(row: LossRow) -> Iterator[str]:
    if row.reason:
        yield f"cannot tell: {row.reason}"
    yield from row.unpaired
    if row.regressions:
        yield f"regression ({', '.join(row.regressions)})"
