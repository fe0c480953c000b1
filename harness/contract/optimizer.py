"""The update rules, defined once; a backend owns only their arithmetic. No framework import."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

OptimizerName = Literal["sgd", "rmsprop", "adagrad", "adam"]
ScheduleName = Literal["constant", "exponential", "cosine"]


@dataclass(frozen=True)
class Optimizer:
    """An update rule as in ``torch.optim`` (epsilon is added *after* the square root).

    With g the gradient after clipping and eta the learning rate of the step::

        sgd      v <- momentum * v + g                    p <- p - eta * v        (v starts at 0)
        rmsprop  s <- decay * s + (1 - decay) * g^2       p <- p - eta * g / (sqrt(s) + epsilon)
        adagrad  s <- s + g^2                             p <- p - eta * g / (sqrt(s) + epsilon)
        adam     m <- beta1 * m + (1 - beta1) * g         p <- p - eta * m^ / (sqrt(s^) + epsilon)
                 s <- beta2 * s + (1 - beta2) * g^2       m^ = m / (1 - beta1^n)
                                                          s^ = s / (1 - beta2^n)

    where n counts updates from 1. The gradient of the *mean* loss is clipped before the rule:
    ``clip_norm`` c scales every gradient by ``c / norm`` if the global L2 norm exceeds c (no
    epsilon); ``clip_value`` limits each element to [-clip_value, clip_value]. At most one of the
    two is set.

    ``schedule_steps`` is the period of one decay (``exponential``), or the number of steps from the
    full rate to 0 (``cosine``). ``schedule_factor`` is the factor per period (``exponential``).
    ``decay`` belongs to rmsprop; ``beta1`` and ``beta2`` to adam.
    """

    name: OptimizerName = "adam"
    learning_rate: float = 1e-3
    schedule: ScheduleName = "constant"
    schedule_steps: int = 1
    schedule_factor: float = 1.0
    momentum: float = 0.0
    decay: float = 0.99
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    clip_norm: float | None = None
    clip_value: float | None = None

    def learning_rate_at(self, step: int) -> float:
        """Return eta of update ``step``, counted from 0.

        ``exponential``: learning_rate * schedule_factor ** floor(step / schedule_steps);
        ``cosine``: learning_rate * (1 + cos(pi * min(step / schedule_steps, 1))) / 2.
        """
        if self.schedule == "exponential":
            return float(self.learning_rate * self.schedule_factor ** (step // self.schedule_steps))
        if self.schedule == "cosine":
            fraction = min(step / self.schedule_steps, 1.0)
            return self.learning_rate * (1 + math.cos(math.pi * fraction)) / 2
        return self.learning_rate
