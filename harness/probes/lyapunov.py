"""``lyapunov``: how fast a small difference of the state, or a gradient, grows per time step.

The exponents are those of the products of transposed Jacobians along validation data (Benettin et
al. 1980; for recurrent networks Engelken et al. 2023): the gradient is carried back step by step,
and made orthonormal by QR after each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from harness.contract import Array, Batch, State
from harness.contract.probes import Curve, Findings, Probe, Stepper, TrainedNetwork
from harness.contract.records.record import HORIZON_FRACTION
from harness.probes.reading import flat

MOST_EXPONENTS = 8
MOST_SEQUENCES = 8
MOST_STEPS = 2000  # of each sequence
ALIGNING_FRACTION = 0.25  # of the steps: until then the directions are still turning


class Lyapunov(Probe):
    """The leading exponents, and the horizon that follows from the first of them.

    The state is all states of all layers. The horizon is not cut off at the length of a sequence,
    as the measured horizon of the gradient is.
    """

    name = "lyapunov"
    figures: ClassVar[Mapping[str, str]] = {
        "exponent_per_step": "lambda_1: mean logarithm by which the largest gradient grows",
        "exponent_error_per_step": "its standard error over sequences",
        "horizon_steps": "ln(100) / -lambda_1: steps until a gradient is 1 %; none from 0 upwards",
    }

    def measure(self, network: TrainedNetwork) -> Findings:
        """Return the exponents, averaged over sequences."""
        batch = next(iter(network.batches)).first(MOST_SEQUENCES)
        exponents = leading_exponents(network.stepper, batch)  # (sequences, k)
        means = [float(value) for value in exponents.mean(axis=0)]
        first = means[0]
        if not math.isfinite(first):  # no gradient crosses a step, or it is not finite
            return Findings(dict.fromkeys(self.figures))
        error = None
        if len(exponents) > 1:
            error = float(exponents[:, 0].std(ddof=1) / math.sqrt(len(exponents)))
        horizon = math.log(HORIZON_FRACTION) / first if first < 0 else None
        ranks = range(1, len(means) + 1)
        finite = [value if math.isfinite(value) else None for value in means]
        return Findings(
            {
                "exponent_per_step": first,
                "exponent_error_per_step": error,
                "horizon_steps": horizon,
            },
            {"exponents_per_step": Curve("rank", ranks, finite)},
        )


def leading_exponents(stepper: Stepper, batch: Batch) -> Array:
    """Return the leading exponents of each sequence (B, k), the largest first.

    The directions align with the leading ones during the first quarter of the steps, which are the
    last of the sequence. These steps do not count.
    """
    inputs = batch.inputs[:MOST_STEPS]
    start = stepper.zeros(batch.size)
    before = [start, *stepper.run(inputs)][: len(inputs)]
    shapes = [part.shape[2:] for part in start]
    layers = start[0].shape[0]
    size = sum(layers * math.prod(shape) for shape in shapes)
    count = min(MOST_EXPONENTS, size)
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(batch.size, size, count)))[0]
    ends = int(len(inputs) * (1 - ALIGNING_FRACTION))
    total, steps = np.zeros((batch.size, count)), 0
    for t in reversed(range(len(inputs))):
        pulled = np.stack(
            [
                flat(stepper.pull_back(inputs[t], before[t], cotangent))
                for cotangent in _states(directions, layers, shapes)
            ],
            axis=-1,
        )
        if not np.isfinite(pulled).all():
            return np.full((batch.size, count), np.nan)
        directions, triangles = np.linalg.qr(pulled)
        if t < ends or len(inputs) == 1:
            growth = np.abs(np.diagonal(triangles, axis1=-2, axis2=-1))
            with np.errstate(divide="ignore"):  # minus infinity: no gradient crosses the step
                total += np.log(growth)
            steps += 1
    return -np.sort(-total / max(steps, 1), axis=-1)


def _states(directions: Array, layers: int, shapes: list[tuple[int, ...]]) -> Iterator[State]:
    """Yield each column of (B, S, k) as a state."""
    sizes = [layers * math.prod(shape) for shape in shapes]
    for column in np.moveaxis(directions, -1, 0):
        parts = np.split(column, np.cumsum(sizes)[:-1], axis=-1)
        yield tuple(
            np.moveaxis(part.reshape(-1, layers, *shape), 1, 0)
            for part, shape in zip(parts, shapes, strict=True)
        )
