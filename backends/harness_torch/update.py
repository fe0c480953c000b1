"""The update rules of ``harness.contract.Optimizer``: torch.optim's arithmetic, our clipping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from harness.contract import Optimizer

SMALL = 2**15  # numbers; copying 4,600 halved the time of the norm, copying 68,000 saved none
_NEVER = torch.zeros((), dtype=torch.bool)  # of a rule that does not clip


class Update:
    """Clips gradients and applies the rule; counts its updates from 0.

    ``twice`` are further parameters, each of which stands for two of the model's that have equal gradients, and is
    their sum: it counts twice in the norm, and moves by both updates.
    """

    def __init__(self, rule: Optimizer, parameters: Sequence[Tensor], twice: Sequence[Tensor] = ()) -> None:
        self._rule, self._once, self._twice = rule, list(parameters), list(twice)
        self.reset()

    def reset(self) -> None:
        """Forget all moments and start counting afresh."""
        self._step = 0
        groups = [{"params": self._once, "share": 1.0}, {"params": self._twice, "share": 2.0}]
        self._optimizer = _optimizer(self._rule, [group for group in groups if group["params"]])

    def apply(self) -> tuple[Tensor, Tensor]:
        """Update the parameters from their ``grad``; return the norm before clipping and whether clipping acted."""
        once, twice = (
            [parameter.grad for parameter in parameters if parameter.grad is not None]
            for parameters in (self._once, self._twice)
        )
        norm, clipped = _clip(self._rule, once + twice, twice)
        for group in self._optimizer.param_groups:
            group["lr"] = group["share"] * self._rule.learning_rate_at(self._step)
        self._optimizer.step()
        self._step += 1
        return norm, clipped


def _optimizer(rule: Optimizer, parameters: list[dict[str, Any]]) -> torch.optim.Optimizer:
    rate = rule.learning_rate
    if rule.name == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=rule.momentum, fused=True)
    if rule.name == "rmsprop":
        return torch.optim.RMSprop(parameters, rate, alpha=rule.decay, eps=rule.epsilon, foreach=True)
    if rule.name == "adagrad":
        return torch.optim.Adagrad(parameters, rate, eps=rule.epsilon, fused=True)
    return torch.optim.Adam(parameters, rate, betas=(rule.beta1, rule.beta2), eps=rule.epsilon, fused=True)


def _norm(gradients: list[Tensor]) -> Tensor:
    """Return the L2 norm of all together; ``get_total_norm`` takes twice as long.

    Few numbers are copied into one vector first, which takes two operations in place of one for each tensor.
    """
    if sum(gradient.numel() for gradient in gradients) < SMALL:
        parts = torch._utils._flatten_dense_tensors(gradients)  # type: ignore[no-untyped-call]  # noqa: SLF001
    else:
        parts = torch.stack(torch._foreach_norm(gradients))  # noqa: SLF001
    norm: Tensor = torch.linalg.vector_norm(parts)
    return norm


def _clip(rule: Optimizer, gradients: list[Tensor], again: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Clip in place, without waiting for the device; ``torch.nn.utils.clip_grad_norm_`` would divide by norm + 1e-6.

    ``again`` are those of the gradients that count twice in the norm.
    """
    norm = _norm(gradients + again)
    if rule.clip_norm is not None:
        clipped = norm > rule.clip_norm
        torch._foreach_mul_(gradients, torch.where(clipped, rule.clip_norm / norm, 1.0))
    elif rule.clip_value is not None:
        clipped = torch.nn.utils.get_total_norm(gradients, torch.inf, foreach=True) > rule.clip_value
        torch._foreach_clamp_min_(gradients, -rule.clip_value)
        torch._foreach_clamp_max_(gradients, rule.clip_value)
    else:
        clipped = _NEVER
    return norm, clipped
