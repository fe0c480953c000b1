"""Tensors made once per shape and reused at every training step, with views by time step."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor


class Buffers:
    """Uninitialised tensors by name. Another shape, dtype or device replaces the old tensor."""

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}
        self._steps: dict[str, tuple[Tensor, ...]] = {}
        self._parts: dict[str, dict[Hashable, Tensor]] = {}
        self.changes = 0  # how often a tensor was made

    def get(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return the tensor ``name`` of ``shape``, of the dtype and device of ``like``."""
        kept = self._tensors.get(name)
        if (
            kept is None
            or kept.shape != shape
            or kept.dtype != like.dtype
            or kept.device != like.device
        ):
            kept = torch.empty(shape, dtype=like.dtype, device=like.device)
            self.changes += 1
            self._tensors[name], self._parts[name] = kept, {}
            self._steps.pop(name, None)
        return kept

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def steps(self, name: str) -> tuple[Tensor, ...]:
        """Return ``name`` by its first axis; made once."""
        if name not in self._steps:
            self._steps[name] = self._tensors[name].unbind(0)
        return self._steps[name]

    def part(self, name: str, part: Hashable, view: Callable[[Tensor], Tensor]) -> Tensor:
        """Return ``view`` of ``name``; made once under ``part``."""
        kept = self._parts[name]
        if part not in kept:
            kept[part] = view(self._tensors[name])
        return kept[part]
