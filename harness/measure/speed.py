"""Speed figures from timed blocks: medians with an interval, and the arithmetic of a training step."""

from __future__ import annotations

from statistics import median
from typing import Any

from harness.contract import Model
from harness.contract.record import Figure
from harness.measure.clock import Pace, median_interval


def training_flops_per_token(model: Model) -> int:
    """Return the floating-point operations of one training step per time step and sequence.

    Matrix products only, a multiplication and an addition each counted, forward and twice that backward::

        sum over layers of 6 G H^2, again 6 G H^2 for each layer above the first (its input product), 6 H K (readout),
        and 4 G H D for real inputs (no gradient of the input is needed); a token's gather counts as nothing.
        A cell that is not recurrent lacks the first sum.
    """
    square = 6 * len(model.cell.gates) * model.hidden**2
    first = 4 * len(model.cell.gates) * model.hidden * model.inputs.size if model.inputs.kind == "real" else 0
    products = model.layers * model.cell.recurrent + model.layers - 1
    return first + square * products + 6 * model.hidden * model.outputs


def speed_figures(pace: Pace, flops_per_token: int) -> dict[str, Figure]:
    """Return the speed columns from the steady blocks; {} where there are none, no interval where there are few."""
    if not pace.steady:
        return {}
    rates = [block.tokens_per_second for block in pace.steady]
    low, high = median_interval(rates) or (None, None)
    return {
        "step_seconds_median": median(block.step_seconds for block in pace.steady),
        "tokens_per_second": median(rates),
        "tokens_per_second_low": low,
        "tokens_per_second_high": high,
        "flops_per_second": median(rates) * flops_per_token,
    }


def speed_curves(pace: Pace) -> dict[str, Any]:
    """Return the seconds and steps of every steady block."""
    return {
        "block_seconds": [block.seconds for block in pace.steady],
        "block_steps": [block.steps for block in pace.steady],
    }


def speed_details(pace: Pace) -> dict[str, Any]:
    """Return what kind of interval it is, the tokens of a step, and how the warm-up went."""
    steps = sum(block.steps for block in pace.warm_up)
    return {
        "interval": "within-process",
        "tokens_per_step": pace.tokens_per_step,
        "recompilations": pace.recompilations,
        "warm_up": {"blocks": len(pace.warm_up), "steps": steps, "flat": pace.flat},
    }
