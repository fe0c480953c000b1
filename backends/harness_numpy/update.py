"""Clipping and the update rules of ``harness.contract.Optimizer``, in place over one vector."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from harness.contract import Array, Optimizer, Snapshot

BLOCK = 16_384  # elements: six arrays of float32 then fit a second-level cache of 512 kB
SAFE_SQUARE = 1e-24  # in a smaller sum of float32 squares, some may have underflowed


def global_norm(gradient: Array) -> float:
    """Return the L2 norm of (n,), infinite only if the dtype cannot hold it."""
    square = _sum_of_squares(gradient)
    if SAFE_SQUARE < square < math.inf:
        return math.sqrt(square)
    largest = float(np.abs(gradient).max())
    if not 0 < largest < math.inf:
        return largest
    return float(gradient.dtype.type(largest * math.sqrt(_sum_of_squares(gradient / largest))))


def clip(optimizer: Optimizer, gradient: Array, norm: float) -> bool:
    """Clip (n,) in place; return whether anything changed."""
    if optimizer.clip_norm is not None and norm > optimizer.clip_norm:
        factor = optimizer.clip_norm / norm
        if factor < np.finfo(gradient.dtype).tiny:  # the factor is too small; the product is not
            gradient /= norm
            factor = optimizer.clip_norm
        gradient *= factor
        return True
    limit = optimizer.clip_value
    if limit is not None and max(gradient.max(), -gradient.min()) > limit:
        np.clip(gradient, -limit, limit, out=gradient)
        return True
    return False


class Update:
    """One update rule and its state: Adam's m or the momentum's v, and the sum of squares."""

    def __init__(self, optimizer: Optimizer, parameters: Array) -> None:
        self._optimizer = optimizer
        self._first = np.zeros_like(parameters)
        self._second = np.full_like(parameters, optimizer.initial_square)
        self._scratch = np.empty(min(BLOCK, parameters.size), parameters.dtype)
        self._rule = {
            "sgd": self._sgd,
            "rmsprop": self._rmsprop,
            "adagrad": self._adagrad,
            "adam": self._adam,
        }
        self.steps = 0

    def reset(self) -> None:
        """Start afresh: the first state, step 0."""
        self._first.fill(0)
        self._second.fill(self._optimizer.initial_square)
        self.steps = 0

    def snapshot(self) -> Snapshot:
        """Return a copy of the state."""
        return {
            "first": self._first.copy(),
            "second": self._second.copy(),
            "steps": np.array(self.steps),
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a state."""
        self._first[...] = snapshot["first"]
        self._second[...] = snapshot["second"]
        self.steps = int(snapshot["steps"])

    def apply(self, parameters: Array, gradient: Array) -> None:
        """Do one update of (n,) in place."""
        rate = self._optimizer.learning_rate_at(self.steps)
        self.steps += 1
        rule = self._rule[self._optimizer.name]
        for block in _blocks(parameters.size):
            p, g = parameters[block], gradient[block]
            if self._optimizer.weight_decay:
                p *= 1 - rate * self._optimizer.weight_decay
            rule(p, g, self._first[block], self._second[block], self._scratch[: p.size], rate)

    def _sgd(self, p: Array, g: Array, v: Array, s: Array, scratch: Array, rate: float) -> None:
        v *= self._optimizer.momentum
        v += g
        np.multiply(v, rate, out=scratch)
        p -= scratch

    def _rmsprop(self, p: Array, g: Array, v: Array, s: Array, scratch: Array, rate: float) -> None:
        _average_squares(s, g, self._optimizer.decay, scratch)
        self._divide(p, g, s, scratch, rate)

    def _adagrad(self, p: Array, g: Array, v: Array, s: Array, scratch: Array, rate: float) -> None:
        np.multiply(g, g, out=scratch)
        s += scratch
        self._divide(p, g, s, scratch, rate)

    def _adam(self, p: Array, g: Array, m: Array, s: Array, scratch: Array, rate: float) -> None:
        beta1, beta2 = self._optimizer.beta1, self._optimizer.beta2
        m *= beta1
        np.multiply(g, 1 - beta1, out=scratch)
        m += scratch
        _average_squares(s, g, beta2, scratch)
        np.multiply(s, 1 / (1 - beta2**self.steps), out=scratch)
        self._divide(p, m, scratch, scratch, rate / (1 - beta1**self.steps))

    def _divide(
        self, p: Array, numerator: Array, square: Array, scratch: Array, rate: float
    ) -> None:
        if self._optimizer.epsilon_in_root:
            np.add(square, self._optimizer.epsilon, out=scratch)
            np.sqrt(scratch, out=scratch)
        else:
            np.sqrt(square, out=scratch)
            scratch += self._optimizer.epsilon
        np.divide(numerator, scratch, out=scratch)
        scratch *= rate
        p -= scratch


def _average_squares(s: Array, g: Array, decay: float, scratch: Array) -> None:
    s *= decay
    np.multiply(g, g, out=scratch)
    scratch *= 1 - decay
    s += scratch


def _sum_of_squares(vector: Array) -> float:
    """Return it in float64, from sums of blocks: float32 loses digits over a million numbers."""
    return sum(float(vector[block].dot(vector[block])) for block in _blocks(vector.size))


def _blocks(size: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, size, BLOCK))
