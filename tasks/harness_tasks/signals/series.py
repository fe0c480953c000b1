"""Two series that forecasts are judged on: Mackey-Glass and NARMA-10."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TRANSIENT = 500  # samples before the first that is kept
STEPS = 4  # of integration in a unit of time
DELAY = 17 * STEPS
DECAY = 0.1
ORDER = 10  # of NARMA
SPARE = 2  # so many times the trajectories are drawn, because NARMA-10 may diverge
BOUND = 1.0

Values = NDArray[np.float64]


class Trajectories(NamedTuple):
    """What is read and what is forecast, (samples, trajectories) each."""

    inputs: Values
    targets: Values


def mackey_glass(rng: np.random.Generator, samples: int, trajectories: int) -> Values:
    """Integrate dx/dt = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x(t) (Mackey & Glass 1977).

    Each trajectory starts from another constant history. The method is that of Runge and Kutta,
    fourth order, with cubic interpolation of the delayed values.

    Returns:
        x at intervals of one unit of time, (samples, trajectories), after the transient.
    """
    history = rng.uniform(0.4, 1.4, size=trajectories)
    return integrated(history, TRANSIENT + samples)[TRANSIENT:]


def integrated(history: Values, samples: int) -> Values:
    """Return x(0), x(1), ... from a constant history (trajectories,): (samples, trajectories)."""
    steps, h = STEPS * (samples - 1), 1 / STEPS
    x = np.empty((DELAY + steps + 1, len(history)))
    x[: DELAY + 1] = history
    slopes = np.zeros_like(x)
    late = _feed(history)
    for now in range(DELAY, DELAY + steps):
        then, early = now - DELAY, late
        middle = (x[then] + x[then + 1]) / 2
        if then >= DELAY:  # before, x is constant
            middle += h / 8 * (slopes[then] - slopes[then + 1])
        middle = _feed(middle)
        late = _feed(x[then + 1])
        k1 = early - DECAY * x[now]
        k2 = middle - DECAY * (x[now] + h / 2 * k1)
        k3 = middle - DECAY * (x[now] + h / 2 * k2)
        k4 = late - DECAY * (x[now] + h * k3)
        x[now + 1] = x[now] + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        slopes[now] = k1
    return x[DELAY::STEPS]


def _feed(delayed: Values) -> Values:
    feed: Values = 0.2 * delayed / (1 + delayed**10)
    return feed


def narma10(rng: np.random.Generator, samples: int, trajectories: int) -> Trajectories:
    """Drive y_{t+1} = 0.3 y_t + 0.05 y_t (y_t + ... + y_{t-9}) + 1.5 u_{t-9} u_t + 0.1.

    u is uniform from 0 to 0.5 (Atiya & Parlos 2000). Few trajectories diverge; these are left out.

    Returns:
        u_t and y_{t+1}, after the transient.
    """
    inputs = rng.uniform(0, 0.5, size=(TRANSIENT + samples, SPARE * trajectories))
    targets = driven(inputs)
    bounded = np.flatnonzero((targets < BOUND).all(axis=0))[:trajectories]
    return Trajectories(inputs[TRANSIENT:, bounded], targets[TRANSIENT:, bounded])


def driven(inputs: Values) -> Values:
    """Return y_{t+1} for each u_t (samples, trajectories), from rest; at most 10."""
    rest = np.zeros((ORDER, inputs.shape[1]))
    u, y = np.concatenate([rest, inputs]), np.concatenate([rest, np.zeros_like(inputs)])
    for t in range(ORDER, len(u)):
        past = y[t - ORDER : t]  # y_{t-9}..y_t of the equation: row t holds y_{t+1}
        linear = 0.3 * past[-1] + 0.05 * past[-1] * past.sum(axis=0)
        y[t] = np.minimum(linear + 1.5 * u[t - ORDER + 1] * u[t] + 0.1, 10 * BOUND)
    return y[ORDER:]
