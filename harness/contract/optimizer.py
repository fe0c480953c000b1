"""The update rules, defined once; a backend owns only their arithmetic. No framework import."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

OptimizerName = Literal["sgd", "rmsprop", "adagrad", "adam"]
ScheduleName = Literal["constant", "exponential", "cosine"]
# Settings that came after the first engines: one that does not declare them would ignore them.
RULE_OPTIONS = ("weight_decay", "epsilon_in_root", "initial_square")


@dataclass(frozen=True)
class Optimizer:
    """An update rule as in ``torch.optim``.

    With g the gradient after clipping and eta the learning rate of the step::

        sgd      v <- momentum * v + g                    p <- p - eta * v        (v starts at 0)
        rmsprop  s <- decay * s + (1 - decay) * g^2       p <- p - eta * g / (sqrt(s) + epsilon)
        adagrad  s <- s + g^2                             p <- p - eta * g / (sqrt(s) + epsilon)
        adam     m <- beta1 * m + (1 - beta1) * g         p <- p - eta * m^ / (sqrt(s^) + epsilon)
                 s <- beta2 * s + (1 - beta2) * g^2       m^ = m / (1 - beta1^n)
                                                          s^ = s / (1 - beta2^n)

    where n counts updates from 1. With ``weight_decay``, adam is AdamW: p <- p - eta * weight_decay
    * p comes before the rule. The root is sqrt(s + epsilon), as in TensorFlow and many older
    programs, if ``epsilon_in_root`` is set. s starts at ``initial_square``, which belongs to
    rmsprop (1 in TensorFlow 1). The gradient of the *mean* loss is clipped before the rule:
    ``clip_norm`` c scales every gradient by ``c / norm`` if the global L2 norm exceeds c (no
    epsilon); ``clip_value`` limits each element to [-clip_value, clip_value]. At most one of the
    two is set.

    The learning rate rises linearly over the first ``warmup_steps`` updates, the last of which has
    the full rate. ``schedule_start`` is the number of updates before the schedule's first.
    ``schedule_steps`` is the period of one decay (``exponential``), or the number of steps from the
    full rate to 0 (``cosine``). ``schedule_factor`` is the factor per period (``exponential``).
    ``decay`` belongs to rmsprop; ``beta1`` and ``beta2`` and ``weight_decay`` to adam.
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
    epsilon_in_root: bool = False
    initial_square: float = 0.0
    weight_decay: float = 0.0
    warmup_steps: int = 0
    schedule_start: int = 0
    clip_norm: float | None = None
    clip_value: float | None = None

    def learning_rate_at(self, step: int) -> float:
        """Return eta of update ``step``, counted from 0.

        With n = max(0, step - schedule_start), the learning rate is multiplied by

        ``exponential``: schedule_factor ** floor(n / schedule_steps);
        ``cosine``: (1 + cos(pi * min(n / schedule_steps, 1))) / 2;
        ``warmup_steps``: min((step + 1) / warmup_steps, 1), beside either.
        """
        rate = self.learning_rate
        scheduled = max(0, step - self.schedule_start)
        if self.schedule == "exponential":
            rate = float(rate * self.schedule_factor ** (scheduled // self.schedule_steps))
        if self.schedule == "cosine":
            fraction = min(scheduled / self.schedule_steps, 1.0)
            rate = rate * (1 + math.cos(math.pi * fraction)) / 2
        return rate * (step + 1) / self.warmup_steps if step < self.warmup_steps else rate

    def share_kept(self, steps: int) -> float:
        """Return the factor by which weight decay alone shrinks a parameter in so many updates."""
        if not self.weight_decay:
            return 1.0
        return math.prod(
            1 - self.learning_rate_at(step) * self.weight_decay for step in range(steps)
        )

    def options(self) -> tuple[str, ...]:
        """Return which of ``RULE_OPTIONS`` are set: an engine must declare them."""
        return tuple(name for name in RULE_OPTIONS if getattr(self, name))
