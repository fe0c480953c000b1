"""The gradient of the whole state, if an engine gives that of h only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.contract import Array, Batch, Gradients, Parameters, epsilon, rounded
from harness.measure.proof.flow import Series, median_norms
from harness.measure.proof.parity import changed_batch
from harness.measure.proof.streams import generator
from harness.measure.setup import Setup

TOLERANCE = 0.05  # largest |log(own / exact)| of the median norms: 5 %
FLOOR = 1e-3  # of the norm at lag 0, a tenth of the 1 % at the horizon; smaller norms count as this
ROUNDING_FACTOR = 10.0  # times what rounding every weight and input once more does to the reference


@dataclass(frozen=True)
class WholeState:
    """Completes ``Gradients.hidden`` for a cell with several states, with the float64 reference.

    The reference runs at the trainer's weights on its batch. If the engine's gradient of h differs
    from the reference's, the trial gets a flag, unless rounding explains the difference. In a
    chaotic network, or if the gradient explodes, rounding alone changes the result.
    """

    setup: Setup
    flags: list[str] = field(default_factory=list)

    def __call__(self, hidden: Array, batch: Batch, parameters: Parameters) -> Sequence[Array]:
        """Return the gradients of all states but h; () if the reference gives none."""
        dtype = self.setup.trial.dtype
        weights: Parameters = {
            name: np.asarray(value, np.float64) for name, value in parameters.items()
        }
        exact = self._gradients(
            weights, changed_batch(batch, lambda values: rounded(values, dtype))
        )
        off = _difference(median_norms(hidden, batch), median_norms(exact.hidden, batch))
        if off > TOLERANCE and off > ROUNDING_FACTOR * self._rounding(weights, batch, exact):
            self.flags.append(
                f"gradient flow: the norm of dL/dh is off by a factor of {math.exp(off):.3g} "
                f"against the float64 reference; {self.setup.label}"
            )
        return exact.states[1:] if exact.states else ()

    def _rounding(self, weights: Parameters, batch: Batch, exact: Gradients) -> float:
        """Return how much the reference changes if weights and inputs are rounded once more."""
        rng, half = generator(0, "flow"), epsilon(self.setup.trial.dtype) / 2

        def nudged(values: Array) -> Array:
            changed: Array = values * (1 + half * rng.choice([-1.0, 1.0], values.shape))
            return changed

        nudged_weights: Parameters = {name: nudged(value) for name, value in weights.items()}
        moved = self._gradients(nudged_weights, changed_batch(batch, nudged))
        return _difference(median_norms(moved.hidden, batch), median_norms(exact.hidden, batch))

    def _gradients(self, weights: Parameters, batch: Batch) -> Gradients:
        trainer = self.setup.exact_trainer(weights)
        return trainer.gradients(trainer.put(batch))


def _difference(own: Series, exact: Series) -> float:
    """Return the largest |log(own / exact)| over the lags at which both are finite, 0 without any.

    Small differences are relative ones. The logarithm bounds those of a chaotic network, which
    rounding alone can change by orders of magnitude. Norms count from ``FLOOR`` of lag 0 upwards.
    """
    least = FLOOR * exact[0]
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        off = np.abs(np.log(np.maximum(own, least) / np.maximum(exact, least)))
    finite = off[np.isfinite(off)]
    return float(finite.max()) if finite.size else 0.0
