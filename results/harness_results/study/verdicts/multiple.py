"""Many comparisons at once: p-values by Holm's method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness_results.study.verdicts.statistics import FAMILY, Effect, is_same, more_launches


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p-values adjusted by Holm's step-down method; None if there is none."""
    ordered = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * p))
        adjusted[index] = largest
    return adjusted


def corrected(effects: Sequence[Effect]) -> list[Effect]:
    """Return the effects with adjusted p-values; verdicts without support are withdrawn."""
    adjusted = holm([effect.p_value for effect in effects])
    total = sum(p is not None for p in adjusted)
    return [
        _corrected(replace(effect, p_adjusted=p), total)
        for effect, p in zip(effects, adjusted, strict=True)
    ]


def _corrected(effect: Effect, total: int) -> Effect:
    if effect.verdict not in ("faster", "slower") or (effect.p_adjusted or 0.0) <= FAMILY:
        return effect
    if is_same(effect):
        return replace(effect, verdict="same")
    reason = (
        f"{total} comparisons raise the p-value above {FAMILY} by Holm's method: "
        f"{more_launches(total)}"
    )
    return replace(effect, verdict="cannot_tell", reason=reason)
