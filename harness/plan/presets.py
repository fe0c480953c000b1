"""How thorough a run is, in one word, and which options are left to defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.contract import UsageError
from harness.plan.options import RunOptions
from harness.plan.request import PlanRequest

RIGOROUS_LAUNCHES = 10  # with fewer, a 95 % interval of a median contains the extremes


def settle(request: PlanRequest, chosen: Mapping[str, Any]) -> tuple[PlanRequest, RunOptions]:
    """Return the plan and all options: the user's choice wins over presets, plan and defaults.

    Args:
        request: the plan; ``fast`` evaluates at the start and the end only, unless the plan says
            when.
        chosen: field of ``RunOptions`` -> value; None, False and () were not chosen.

    Raises:
        UsageError: a value is out of range, options contradict each other, or one of them would
            have no effect.
    """
    values = {
        name: value
        for name, value in chosen.items()
        if value is not None and value is not False and value != ()
    }
    if "fast" in values and "rigorous" in values:
        raise UsageError("--fast and --rigorous exclude each other: leave one of them out")
    preset: dict[str, Any] = {}
    if "rigorous" in values:
        if "launches" in values:
            problem = "--rigorous would have no effect with --launches"
            raise UsageError(f"{problem}: leave one of them out")
        preset = {"launches": RIGOROUS_LAUNCHES}
    if "fast" in values:
        preset = {"launches": 1, "sample_length": 0, "sample_every": None}
        request = replace(request, axes={"evaluate_every": (0,), **request.axes})
    options = RunOptions(**{**request.options, **preset, **values})
    if options.launches == 1 and "order_seed" in values:
        raise UsageError(
            "--order-seed would have no effect: one launch keeps the plan's order; add --launches"
        )
    return request, options
