"""The hoisted network with compiled pointwise work: the loss, and gradients summed by token."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array
from harness_numpy.compiled.chain import Compiled
from harness_numpy.compiled.functions import exp
from harness_numpy.compiled.jit import compiled
from harness_numpy.recurrence.device import DeviceBatch
from harness_numpy.recurrence.hoisted import HoistedNetwork
from harness_numpy.update import Update


class CompiledNetwork(HoistedNetwork):
    """Layers of compiled loops."""

    keeps_states = False

    def _loss_and_gradient(self, batch: DeviceBatch, outputs: Array) -> np.floating[Any]:
        if self.model.loss != "cross_entropy":
            return super()._loss_and_gradient(batch, outputs)
        total: np.floating[Any] = outputs.dtype.type(
            cross_entropy(outputs, batch.targets, batch.scored)
        )
        return total

    def _input_weight_gradient(self, inputs: NDArray[Any], d_zx: Array, out: Array) -> None:
        if inputs.ndim > 1:
            super()._input_weight_gradient(inputs, d_zx, out)
            return
        sums = np.zeros(out.shape[::-1], out.dtype)
        sum_by_token(inputs, d_zx, sums)
        out[...] = sums.T

    def _add_by_token(self, tokens: NDArray[np.intp], d_rows: Array, out: Array) -> None:
        sum_by_token(tokens, d_rows, out)


class CompiledUpdate(Update):
    """Adam in one pass."""

    def _adam(self, p: Array, g: Array, m: Array, s: Array, scratch: Array, rate: float) -> None:
        rule, n = self._optimizer, self.steps
        if rule.epsilon_in_root:
            super()._adam(p, g, m, s, scratch, rate)
            return
        by_m, by_s = rate / (1 - rule.beta1**n), 1 / (1 - rule.beta2**n)
        adam(p, g, m, s, rule.beta1, rule.beta2, by_m, by_s, rule.epsilon)


@compiled
def cross_entropy(logits: Array, classes: NDArray[np.intp], scored: int) -> float:
    """Return the share of (n, K) logits in the mean loss; they become its gradient."""
    loss, unit = 0.0, logits.dtype.type(1)
    for n in range(logits.shape[0]):
        row = logits[n]
        largest = row.max()
        chosen, total = row[classes[n]] - largest, logits.dtype.type(0)
        for k in range(row.shape[0]):
            row[k] = exp(row[k] - largest)
        for k in range(row.shape[0]):
            total += row[k]
        loss += np.log(total) - chosen
        scale = unit / (total * logits.dtype.type(scored))
        for k in range(row.shape[0]):
            row[k] *= scale
        row[classes[n]] -= unit / logits.dtype.type(scored)
    return loss / scored


@compiled
def sum_by_token(tokens: NDArray[np.intp], rows: Array, sums: Array) -> None:
    """Add each of ``rows`` (n, G*H) to the row of its token in ``sums`` (V, G*H)."""
    for n in range(tokens.shape[0]):
        row, total = rows[n], sums[tokens[n]]
        for j in range(row.shape[0]):
            total[j] += row[j]


@compiled
def adam(
    p: Array,
    g: Array,
    m: Array,
    s: Array,
    beta1: float,
    beta2: float,
    by_m: float,
    by_s: float,
    epsilon: float,
) -> None:
    """Update (n,) in place; ``by_m`` is the rate over 1 - beta1^n, ``by_s`` 1 over 1 - beta2^n."""
    real = p.dtype.type
    a, b, not_a, not_b = real(beta1), real(beta2), real(1 - beta1), real(1 - beta2)
    rate, scale, least = real(by_m), real(by_s), real(epsilon)
    for j in range(p.shape[0]):
        m[j] = a * m[j] + not_a * g[j]
    for j in range(p.shape[0]):
        s[j] = b * s[j] + not_b * (g[j] * g[j])
    for j in range(p.shape[0]):
        p[j] -= rate * m[j] / (np.sqrt(s[j] * scale) + least)


network = partial(CompiledNetwork, recurrence=Compiled)
