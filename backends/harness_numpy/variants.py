"""The ways of executing a model here: name -> what makes its network. A further one is a further entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from harness.contract import Model
from harness_numpy.flat import Flat
from harness_numpy.hoisted import HoistedNetwork
from harness_numpy.loop import LoopNetwork
from harness_numpy.masks import Masks
from harness_numpy.network import Network
from harness_numpy.tuned import vectorised

MakeNetwork = Callable[[Model, Flat, Flat, Masks, int], Network[Any]]


def _native(model: Model, parameters: Flat, gradients: Flat, masks: Masks, threads: int) -> Network[Any]:
    from harness_numpy.native import NativeNetwork  # its kernel is built and loaded where it is asked for

    return NativeNetwork(model, parameters, gradients, masks, threads)


VARIANTS: Mapping[str, MakeNetwork] = {
    "vectorised": partial(HoistedNetwork, recurrence=vectorised),
    "loop": LoopNetwork,
    "native": _native,
}
