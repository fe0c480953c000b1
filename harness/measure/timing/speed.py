"""Speed figures from timed blocks: all their tokens over all their seconds, and the arithmetic of a training step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, quantiles
from typing import Any

from harness.contract import Model
from harness.contract.records.record import Figure
from harness.measure.timing.clock import Block, BlockScheduler

FEWEST_BLOCKS = 6  # fewer have no interval
SPEED_CURVES = ("block_seconds", "block_steps")
# Details from which a speed could be read.
SPEED_DETAILS = ("block_tokens_per_second", "rank_step_seconds", "rank_step_seconds_spread")


def training_flops_per_token(model: Model) -> int:
    """Return the floating-point operations of one training step per time step and sequence.

    Matrix products only, a multiplication and an addition each counted, forward and twice that backward::

        sum over layers of 6 G H^2, again 6 G H^2 for each layer above the first (its input
        product), 6 H K (readout), and 4 G H D for real inputs (no gradient of the input is needed);
        a token's gather counts as nothing. A cell that is not recurrent lacks the first sum.
    """
    square = 6 * len(model.cell.gates) * model.hidden**2
    first = (
        4 * len(model.cell.gates) * model.hidden * model.inputs.size
        if model.inputs.kind == "real"
        else 0
    )
    products = model.layers * model.cell.recurrent + model.layers - 1
    return first + square * products + 6 * model.hidden * model.outputs


def speed_figures(scheduler: BlockScheduler, flops_per_token: int) -> dict[str, Figure]:
    """Return the speed columns from the steady blocks; {} where there are none, no interval where there are few."""
    total = scheduler.total
    if total is None:
        return {}
    low, high = rate_interval(scheduler.steady) or (None, None)
    return {
        "step_seconds_median": total.step_seconds,
        "tokens_per_second": total.tokens_per_second,
        "tokens_per_second_low": low,
        "tokens_per_second_high": high,
        "flops_per_second": total.tokens_per_second * flops_per_token,
    }


def rate_interval(blocks: Sequence[Block]) -> tuple[float, float] | None:
    """Return the 95 % interval of all tokens over all seconds, a ratio estimator; None of fewer than 6 blocks.

    Its variance is the usual linearised one, with the deviations e = tokens - rate * seconds of the
    blocks; the interval is Student's, symmetric on the logarithm, so that it holds the rate and
    stays positive.
    """
    n, seconds = len(blocks), math.fsum(block.seconds for block in blocks)
    if n < FEWEST_BLOCKS or seconds <= 0:
        return None
    rate = sum(block.tokens for block in blocks) / seconds
    squares = math.fsum((block.tokens - rate * block.seconds) ** 2 for block in blocks)
    relative = math.sqrt(n / (n - 1) * squares) / (rate * seconds)
    factor = math.exp(student(n - 1) * relative)
    return rate / factor, rate * factor


def student(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t, by its expansion about the normal one (to 0.2 % from 5 degrees on)."""
    z = NormalDist().inv_cdf(0.975)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / float(degrees) ** power for power, term in enumerate(terms, 1))


def speed_curves(scheduler: BlockScheduler) -> dict[str, Any]:
    """Return the seconds and steps of every steady block."""
    return {
        "block_seconds": [block.seconds for block in scheduler.steady],
        "block_steps": [block.steps for block in scheduler.steady],
    }


def speed_details(scheduler: BlockScheduler) -> dict[str, Any]:
    """Return what kind of interval it is, the tokens of a step, the spread of the blocks, and how the warm-up went."""
    steps, total = sum(block.steps for block in scheduler.warm_up), scheduler.total
    return {
        "interval": "within-process",
        "tokens_per_step": total and total.tokens / total.steps,
        "block_tokens_per_second": _spread([block.tokens_per_second for block in scheduler.steady]),
        "recompilations": scheduler.recompilations,
        "warm_up": {"blocks": len(scheduler.warm_up), "steps": steps, "flat": scheduler.flat},
    }


def _spread(rates: Sequence[float]) -> dict[str, float]:
    if not rates:
        return {}
    quarters = quantiles(rates, n=4, method="inclusive") if len(rates) > 1 else [rates[0]] * 3
    return dict(
        zip(
            ("min", "q25", "median", "q75", "max"), (min(rates), *quarters, max(rates)), strict=True
        )
    )
