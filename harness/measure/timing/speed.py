"""Speed figures from timed blocks (total tokens over total seconds); FLOPs of a training step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, quantiles
from typing import Any

from harness.contract import Model
from harness.contract.records.record import Figure
from harness.measure.timing.clock import MINIMUM_BLOCKS, Block, BlockScheduler

SPEED_CURVES = ("block_seconds", "block_steps")
# Details that reveal a speed.
SPEED_DETAILS = ("block_tokens_per_second", "rank_step_seconds", "rank_step_seconds_spread")


def training_flops_per_token(model: Model) -> int:
    """Return the floating-point operations of one training step per time step and sequence.

    Only products with weights count: a multiplication and an addition per element forward, and
    twice that backward. Those with a state that is a matrix do not. The sum of

    - 6 R H for each layer (the products with the state, of R rows; G H for ``weight_hh``),
    - 6 G H^2 for each layer above the first (its input product),
    - 4 G H D for real inputs (their gradient is not needed), 6 G H E for an embedding of width E;
      a gather of tokens counts 0,
    - 6 H K for the readout.
    """
    rows = len(model.cell.gates) * model.hidden
    first = 4 * rows * model.inputs.size if model.inputs.kind == "real" else 0
    if model.embedding is not None:
        first = 6 * rows * model.embedding
    every = model.layers * model.recurrent_rows() + (model.layers - 1) * rows
    return first + 6 * model.hidden * every + 6 * model.hidden * model.outputs


def speed_figures(scheduler: BlockScheduler, flops_per_token: int) -> dict[str, Figure]:
    """Return the speed columns from the steady blocks; {} if there are none."""
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
    """Return the 95 % interval of total tokens over total seconds; None for fewer than 6 blocks.

    The rate is a ratio estimator. Its variance is linearised, from the deviations
    tokens - rate * seconds of the blocks. The interval is Student's, symmetric on the logarithm, so
    it contains the rate and stays positive.
    """
    n, seconds = len(blocks), math.fsum(block.seconds for block in blocks)
    if n < MINIMUM_BLOCKS or seconds <= 0:
        return None
    rate = sum(block.tokens for block in blocks) / seconds
    squares = math.fsum((block.tokens - rate * block.seconds) ** 2 for block in blocks)
    relative = math.sqrt(n / (n - 1) * squares) / (rate * seconds)
    factor = math.exp(student(n - 1) * relative)
    return rate / factor, rate * factor


def student(degrees: int) -> float:
    """Return the 97.5 % quantile of Student's t, expanded about the normal quantile.

    It is accurate to 0.2 % from 5 degrees of freedom on.
    """
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
    """Return the kind of interval, tokens per step, spread of the blocks, and the warm-up."""
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
    values = (min(rates), *quarters, max(rates))
    return dict(zip(("min", "q25", "median", "q75", "max"), values, strict=True))
