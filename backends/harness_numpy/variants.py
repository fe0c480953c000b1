"""The ways of executing a model here: name -> what makes its network. A further one is a further entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from harness.contract import Cell, Execution, Model, array_dtype
from harness_numpy.flat import Flat
from harness_numpy.hoisted import HoistedNetwork
from harness_numpy.masks import Masks
from harness_numpy.network import Network
from harness_numpy.recurrence import Recurrence, Shape, Stepwise

MakeNetwork = Callable[[Model, Flat, Flat, Masks, Execution], Network[Any]]
MakeRecurrence = Callable[[Cell, Shape], Recurrence]


def hoisted(recurrence: MakeRecurrence) -> MakeNetwork:
    """Return what makes a network out of layers of ``recurrence``."""

    def make(model: Model, parameters: Flat, gradients: Flat, masks: Masks, execution: Execution) -> Network[Any]:
        def layer(steps: int, batch: int) -> Recurrence:
            shape = Shape(steps, batch, model.hidden, array_dtype(execution.dtype), execution.threads)
            return recurrence(model.cell, shape)

        return HoistedNetwork(model, parameters, gradients, masks, layer)

    return make


VARIANTS: Mapping[str, MakeNetwork] = {"vectorised": hoisted(Stepwise)}
