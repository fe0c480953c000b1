"""The update rules of ``harness.contract.Optimizer``: torch.optim's arithmetic, our clipping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.contract import Optimizer, Snapshot

SMALL = 2**15  # numbers; copying 4,600 halved the time of the norm, copying 68,000 saved none
PIECE = 2**12  # numbers per sum: 10 million float32 squares in one sum were off by 4e-4
SAFE_NORM = 1e-12  # in a smaller norm of float32 numbers, some squares may have underflowed
SMALL_CLIP = 0.1  # with a smaller clip_norm, clip_norm / norm may be too small for float32
_NEVER = torch.zeros((), dtype=torch.bool)  # of a rule that does not clip


class Update:
    """Clips gradients and applies the rule; counts its updates from 0.

    ``twice`` are further parameters. Each is the sum of two parameters of the model with equal
    gradients, so it counts twice in the norm and moves by both updates.
    """

    def __init__(
        self, rule: Optimizer, parameters: Sequence[Tensor], twice: Sequence[Tensor] = ()
    ) -> None:
        self._rule, self._once, self._twice = rule, list(parameters), list(twice)
        self.reset()

    def reset(self) -> None:
        """Forget all moments and start counting afresh."""
        self._step = 0
        # A sum of two parameters moves by both updates, but decays once.
        groups = [
            {"params": parameters, "share": share, "weight_decay": self._rule.weight_decay / share}
            for parameters, share in ((self._once, 1.0), (self._twice, 2.0))
        ]
        self._optimizer = _optimizer(self._rule, [group for group in groups if group["params"]])

    def share_kept(self) -> float:
        """Return the factor by which weight decay alone has shrunk a parameter so far."""
        return self._rule.share_kept(self._step)

    def snapshot(self) -> Snapshot:
        """Return the moments, by the number of their parameter, and the step count."""
        arrays: Snapshot = {"steps": np.array(self._step)}
        for index, moments in self._optimizer.state_dict()["state"].items():
            for name, moment in moments.items():
                if moment is not None:
                    arrays[f"moment {index} {name}"] = moment.cpu().numpy().copy()
        return arrays

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from moments and step count."""
        self.reset()
        self._step = int(snapshot["steps"])
        state: dict[int, dict[str, Tensor]] = {}
        for key, array in snapshot.items():
            kind, *rest = key.split()
            if kind == "moment":
                index, name = rest
                state.setdefault(int(index), {})[name] = torch.tensor(array)
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})

    def apply(self) -> tuple[Tensor, Tensor]:
        """Update the parameters by their ``grad``; return the norm, and whether it was clipped."""
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
    rate, epsilon, betas = rule.learning_rate, rule.epsilon, (rule.beta1, rule.beta2)
    if rule.name == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=rule.momentum, fused=True)
    if rule.epsilon_in_root:
        return InRoot(rule, parameters)
    if rule.name == "rmsprop":
        rmsprop = torch.optim.RMSprop(parameters, rate, rule.decay, epsilon, foreach=True)
        if rule.initial_square:
            for parameter in _parameters(rmsprop):
                square = torch.full_like(parameter, rule.initial_square)
                rmsprop.state[parameter] = {"step": torch.zeros(()), "square_avg": square}
        return rmsprop
    if rule.name == "adagrad":
        return torch.optim.Adagrad(parameters, rate, eps=epsilon, fused=True)
    return torch.optim.AdamW(parameters, rate, betas, epsilon, fused=True)


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


class InRoot(torch.optim.Optimizer):
    """rmsprop, adagrad and adam with epsilon inside the root, which torch.optim lacks."""

    def __init__(self, rule: Optimizer, parameters: list[dict[str, Any]]) -> None:
        super().__init__(parameters, {"lr": rule.learning_rate})
        self._rule = rule
        for parameter in _parameters(self):
            self.state[parameter] = {
                "step": torch.zeros(()),
                "mean": torch.zeros_like(parameter),
                "square": torch.full_like(parameter, rule.initial_square),
            }

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Do one update."""
        rule = self._rule
        old, new = {"rmsprop": (rule.decay, 1 - rule.decay), "adagrad": (1.0, 1.0)}.get(
            rule.name, (rule.beta2, 1 - rule.beta2)
        )
        for group in self.param_groups:
            for parameter in group["params"]:
                if (gradient := parameter.grad) is None:
                    continue
                state = self.state[parameter]
                state["step"] += 1
                count, rate = int(state["step"]), group["lr"]
                mean, square = gradient, state["square"].mul_(old)
                square.addcmul_(gradient, gradient, value=new)
                if rule.name == "adam":
                    mean = state["mean"].lerp_(gradient, 1 - rule.beta1)
                    rate /= 1 - rule.beta1**count
                    square = square / (1 - rule.beta2**count)
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.addcdiv_(mean, (square + rule.epsilon).sqrt_(), value=-rate)


def _norm(gradients: list[Tensor]) -> Tensor:
    """Return the L2 norm of all together, in their dtype; infinite only if that cannot hold it."""
    dtype = gradients[0].dtype
    if gradients[0].is_cpu:
        norm = _quick_norm(gradients)
        if SAFE_NORM < norm.item() < torch.inf:
            return norm
    elif dtype == torch.float32:  # float64 holds all squares, and nothing waits for the device
        norms = torch.stack(torch._foreach_norm(gradients, 2, torch.float64))  # noqa: SLF001
        whole: Tensor = torch.linalg.vector_norm(norms)
        return whole.to(dtype)
    largest = torch.nn.utils.get_total_norm(gradients, torch.inf, foreach=True)
    scale = torch.where((largest > 0) & largest.isfinite(), largest, 1.0)
    scaled = torch._foreach_div(gradients, scale)  # noqa: SLF001
    return scale * _quick_norm(list(scaled))


def _quick_norm(gradients: list[Tensor]) -> Tensor:
    """Return the L2 norm of all together, if no sum of squares leaves their dtype.

    Few numbers are copied into one vector first: two operations instead of one per tensor.
    """
    if sum(gradient.numel() for gradient in gradients) < SMALL:
        flatten = torch._utils._flatten_dense_tensors  # noqa: SLF001
        parts = flatten(gradients)  # type: ignore[no-untyped-call]
    else:
        parts = torch.cat(
            [norm for gradient in gradients for norm in _norms_of_pieces(gradient.reshape(-1))]
        )
    norm: Tensor = torch.linalg.vector_norm(parts)
    return norm


def _norms_of_pieces(vector: Tensor) -> tuple[Tensor, Tensor]:
    """Return the norms of all whole pieces, and of the rest."""
    whole = vector.numel() // PIECE * PIECE
    rest = torch.linalg.vector_norm(vector[whole:], keepdim=True)
    return torch.linalg.vector_norm(vector[:whole].view(-1, PIECE), dim=1), rest


def _clip(rule: Optimizer, gradients: list[Tensor], again: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Clip in place without waiting for the device; ``clip_grad_norm_`` divides by norm + 1e-6.

    ``again`` are those of the gradients that count twice in the norm.
    """
    norm = _norm(gradients + again)
    if rule.clip_norm is not None:
        clipped, limit = norm > rule.clip_norm, rule.clip_norm
        if limit < SMALL_CLIP:
            torch._foreach_div_(gradients, torch.where(clipped, norm, 1.0))
            torch._foreach_mul_(gradients, torch.where(clipped, limit, torch.ones_like(norm)))
        else:
            torch._foreach_mul_(gradients, torch.where(clipped, limit / norm, 1.0))
    elif rule.clip_value is not None:
        clipped = (
            torch.nn.utils.get_total_norm(gradients, torch.inf, foreach=True) > rule.clip_value
        )
        torch._foreach_clamp_min_(gradients, -rule.clip_value)
        torch._foreach_clamp_max_(gradients, rule.clip_value)
    else:
        clipped = _NEVER
    return norm, clipped
