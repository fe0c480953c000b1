"""The work of ``harness compare --losses``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.cli.main import NOTHING_COMPARABLE, OK, REGRESSION
from harness.cli.work.compare import DOUBT, allowed, nothing, print_verdicts, sides_of
from harness.contract import UsageError
from harness_results.compare.gate import Rule, read_rule
from harness_results.compare.losses import compare_losses
from harness_results.compare.losses_text import loss_rows, loss_table
from harness_results.compare.sides import is_store_or_run, names_cells

METRIC = "loss_validation"
UNUSED = {"drift": "--drift", "allow_mixed": "--allow-mixed"}  # they are about speeds


def compare_loss_sides(base: str, new: str, options: Mapping[str, Any]) -> int:
    """Print the comparison of losses that the options ask for, and return the exit status."""
    for name, option in UNUSED.items():
        if options[name]:
            raise UsageError(
                f"{option} is about speeds and has no effect on --losses: leave it out"
            )
    rules = [_rule(text) for text in options["fail_on"] if text not in DOUBT]
    axis = options["by"] or _axis(base, new, options)
    left, right = sides_of(base, new, axis, options)
    comparison = compare_losses(
        left.records,
        right.records,
        axis=axis,
        rules=rules,
        allowed=allowed(options["allow"]),
        fail_on_doubt=len(rules) < len(options["fail_on"]),
    )
    if not any(row.base for row in comparison.rows):
        return nothing(
            f"{left.name} and {right.name} have no two trials in common that differ in nothing "
            f"else and have equal seeds"
        )
    comparison = replace(comparison, sides=(left.name, right.name))
    print_verdicts(loss_table(comparison, axis), loss_rows(comparison), options)
    if any(row.regressions for row in comparison.rows):
        return REGRESSION
    return OK if comparison.tests else NOTHING_COMPARABLE


def _axis(base: str, new: str, options: Mapping[str, Any]) -> str | None:
    """Return the field that two names are values of; None if a side is a store or a run."""
    if is_store_or_run(base) or is_store_or_run(new):
        return None
    run = options["run"] or "last"
    return "cell" if names_cells((base, new), options["store"], run) else "backend"


def _rule(text: str) -> Rule:
    rule = read_rule(text)
    if rule.figure != METRIC:
        raise UsageError(
            f"--fail-on {text!r} is not about losses: write {METRIC}:5% or cannot-tell"
        )
    return rule
