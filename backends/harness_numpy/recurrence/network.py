"""The interface of every way to execute a model: its function and gradient over time steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from harness.contract import Array, Model, State
from harness_numpy.recurrence.device import DeviceBatch
from harness_numpy.recurrence.flat import Flat
from harness_numpy.recurrence.masks import Masks


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

    Attributes:
        keeps_states: whether ``backward`` can give the gradient of every state of the cell; if not,
            it gives that of h.
    """

    keeps_states: ClassVar[bool] = True

    def __init__(
        self, model: Model, parameters: Flat, gradients: Flat, masks: Masks, threads: int = 1
    ) -> None:
        self.model, self.gradients, self.masks, self.threads = model, gradients, masks, threads
        self._p, self._d = parameters.views, gradients.views
        self._readout, self._d_readout = (
            self._p[model.readout_weight],
            self._d[model.readout_weight],
        )
        layers = range(model.layers)
        self._weights = [_of_layer(self._p, layer) for layer in layers]
        self._weight_d = [_of_layer(self._d, layer) for layer in layers]

    @abstractmethod
    def forward(self, batch: DeviceBatch, state: State | None, *, training: bool) -> W:
        """Run all layers from ``state`` (None: zeros). The result is valid until the next call."""

    @abstractmethod
    def backward(
        self, batch: DeviceBatch, work: W, d_final: State | None, d_others: Sequence[Array] = ()
    ) -> tuple[np.floating[Any], State]:
        """Fill the gradients and ``work.d_hidden``.

        Args:
            batch: as in ``forward``.
            work: what ``forward`` returned.
            d_final: d loss / d final state through the steps after these, each (layers, B, H);
                None: zero.
            d_others: filled with d loss / d state of the cell's states except h, each (layers, T,
                B, H), if it ``keeps_states``; empty: not wanted.

        Returns:
            these steps' share of the mean loss, and d loss / d initial state, each (layers, B, H).
        """

    @abstractmethod
    def outputs(self, work: W) -> Array:
        """Return new outputs (T*B, K)."""


def _of_layer(views: Mapping[str, Array], layer: int) -> dict[str, Array]:
    """Return the tensors of one layer, named without its number."""
    end = f"_l{layer}"
    return {name.removesuffix(end): view for name, view in views.items() if name.endswith(end)}
