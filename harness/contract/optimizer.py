"""The update rules, defined once; a backend owns only their arithmetic. No framework import here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

OptimizerName = Literal["sgd", "rmsprop", "adagrad", "adam"]
ScheduleName = Literal["constant", "exponential", "cosine"]


@dataclass(frozen=True)
class Optimizer:
    """An update rule in the conventions of ``torch.optim`` (epsilon is added *after* the square root).

    With g the gradient after clipping and eta the learning rate of the step::

        sgd      v <- momentum * v + g                    p <- p - eta * v        (v starts at 0)
        rmsprop  s <- decay * s + (1 - decay) * g^2       p <- p - eta * g / (sqrt(s) + epsilon)
        adagrad  s <- s + g^2                             p <- p - eta * g / (sqrt(s) + epsilon)
        adam     m <- beta1 * m + (1 - beta1) * g         p <- p - eta * m^ / (sqrt(s^) + epsilon)
                 s <- beta2 * s + (1 - beta2) * g^2       m^ = m / (1 - beta1^n)
                                                          s^ = s / (1 - beta2^n)

    where n counts updates from 1. Clipping, on the gradient of the *mean* loss, before the rule:
    ``clip_norm`` c scales every gradient by ``c / norm`` where the global L2 norm exceeds c (no
    epsilon); ``clip_value`` limits each element to [-clip_value, clip_value]. At most one of the
    two is set.
    """

    name: OptimizerName = "adam"
    learning_rate: float = 1e-3
    schedule: ScheduleName = "constant"
    schedule_steps: int = (
        1  # exponential: the period of one decay; cosine: the steps from the full rate to 0
    )
    schedule_factor: float = 1.0  # exponential: the factor per period
    momentum: float = 0.0
    decay: float = 0.99  # rmsprop
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    clip_norm: float | None = None
    clip_value: float | None = None

    def learning_rate_at(self, step: int) -> float:
        """Return eta of update ``step`` (counted from 0).

        ``exponential``: learning_rate * schedule_factor ** floor(step / schedule_steps);
        ``cosine``: learning_rate * (1 + cos(pi * min(step / schedule_steps, 1))) / 2.
        """
        if self.schedule == "exponential":
            return float(self.learning_rate * self.schedule_factor ** (step // self.schedule_steps))
        if self.schedule == "cosine":
            return (
                self.learning_rate
                * (1 + math.cos(math.pi * min(step / self.schedule_steps, 1.0)))
                / 2
            )
        return self.learning_rate
