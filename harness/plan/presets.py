"""How thorough a run is, in one word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.contract import UsageError
from harness.plan.request import PlanRequest

LAUNCHES = 1
RIGOROUS_LAUNCHES = 10  # where a 95 % interval of a median leaves out the extremes
SAMPLE_LENGTH = 300


def preset(request: PlanRequest, options: Mapping[str, Any]) -> tuple[PlanRequest, dict[str, Any]]:
    """Return plan and options with what was not given filled in; what was given by itself wins.

    Args:
        request: the plan; ``fast`` evaluates at the start and the end only, unless the plan says
            when.
        options: ``fast`` (one launch, whatever the plan says), ``rigorous``, and ``launches``,
            ``sample_length`` and ``order_seed``, ``timeout`` and ``retries``, None where they were
            not given.

    Raises:
        UsageError: both presets are asked for, or an option would have no effect.
    """
    fast, rigorous = options["fast"], options["rigorous"]
    if fast and rigorous:
        raise UsageError("--fast and --rigorous exclude each other: leave one of them out")
    if rigorous and options["launches"] is not None:
        raise UsageError("--rigorous would have no effect beside --launches: leave one of them out")
    if fast:
        request = replace(request, axes={"evaluate_every": (0,), **request.axes})
    launches = RIGOROUS_LAUNCHES if rigorous else LAUNCHES if fast else request.launches or LAUNCHES
    filled: dict[str, Any] = {"launches": launches, "sample_length": 0 if fast else SAMPLE_LENGTH}
    filled |= {"timeout": request.timeout_seconds, "retries": request.retries or 0}
    options = {**options, **{name: v for name, v in filled.items() if options.get(name) is None}}
    if options["launches"] == 1 and options["order_seed"] is not None:
        raise UsageError(
            "--order-seed would have no effect: one launch keeps the plan's order; add --launches"
        )
    return request, {**options, "order_seed": options["order_seed"] or 0}
