"""What every way of executing a model offers: its function and gradient over some time steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from harness.contract import Array, Model, Optimizer, State
from harness_numpy.device import DeviceBatch
from harness_numpy.flat import Flat
from harness_numpy.masks import Masks
from harness_numpy.update import Update


class Work(Protocol):
    """What a forward pass leaves for the backward pass."""

    @property
    def d_hidden(self) -> Array:
        """(layers, T, B, H), the total derivative, after ``backward``."""

    def final(self) -> State:
        """Return a copy of the state after the last step, each (layers, B, H)."""


W = TypeVar("W", bound=Work)


class Network(ABC, Generic[W]):
    """A model's function and gradient.

    Args:
        model: the function.
        parameters: its weights.
        gradients: filled by ``backward``.
        masks: dropout.
        threads: of BLAS.
    """

    def __init__(self, model: Model, parameters: Flat, gradients: Flat, masks: Masks, threads: int = 1) -> None:
        self.model, self.gradients, self.masks, self.threads = model, gradients, masks, threads
        self._p, self._d = parameters.views, gradients.views

    def make_update(self, optimizer: Optimizer, parameters: Array) -> Update:
        """Return the update of ``parameters`` (n,) that goes with this way of executing."""
        return Update(optimizer, parameters)

    @abstractmethod
    def forward(self, batch: DeviceBatch, state: State | None, *, training: bool) -> W:
        """Run all layers from ``state``, None meaning zeros. What it returns holds until the next call."""

    @abstractmethod
    def backward(self, batch: DeviceBatch, work: W, d_final: State | None) -> tuple[np.floating[Any], State]:
        """Fill the gradients and ``work.d_hidden``.

        Args:
            batch: as in ``forward``.
            work: what ``forward`` returned.
            d_final: d loss / d final state by what comes after these steps, each (layers, B, H); None: nothing.

        Returns:
            these steps' share of the mean loss, and d loss / d initial state, each (layers, B, H).
        """

    @abstractmethod
    def outputs(self, work: W) -> Array:
        """Return new outputs (T*B, K)."""
