"""Tensors made once per shape and used again at every training step, with their views by time step."""

from __future__ import annotations

import torch
from torch import Tensor


class Buffers:
    """Uninitialised tensors by name. Asking for another shape, dtype or device makes a new one in place of the old."""

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}
        self._steps: dict[str, tuple[Tensor, ...]] = {}

    def get(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return the tensor ``name`` of ``shape``, of the dtype and device of ``like``."""
        kept = self._tensors.get(name)
        if kept is None or kept.shape != shape or kept.dtype != like.dtype or kept.device != like.device:
            kept = torch.empty(shape, dtype=like.dtype, device=like.device)
            self._tensors[name], self._steps[name] = kept, kept.unbind(0)
        return kept

    def steps(self, name: str) -> tuple[Tensor, ...]:
        """Return the views of ``name`` by its first axis."""
        return self._steps[name]
