"""Tensors made once per shape and reused at every training step, with views by time step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


class Buffers:
    """Uninitialised tensors by name. Another shape, dtype or device replaces the old tensor."""

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}
        self._steps: dict[str, dict[str, tuple[Tensor, ...]]] = {}

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
            self._tensors[name], self._steps[name] = kept, {}
        return kept

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def steps(
        self, name: str, part: str = "", view: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, ...]:
        """Return ``name``, or ``view`` of it, by its first axis; made once under ``part``."""
        kept = self._steps[name]
        if part not in kept:
            tensor = self._tensors[name]
            kept[part] = (tensor if view is None else view(tensor)).unbind(0)
        return kept[part]

    def gates(self, name: str, count: int) -> list[tuple[Tensor, ...]]:
        """Return the views by time step of each of ``count`` equal parts of the last axis."""

        def view(gate: int) -> Callable[[Tensor], Tensor]:
            return lambda whole: whole.chunk(count, -1)[gate]

        return [self.steps(name, f"{gate}/{count}", view(gate)) for gate in range(count)]
