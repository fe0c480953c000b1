"""One or several devices: the weights are copied to each, and batches are split over them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from harness_jax.device import find_devices

AXIS = "data"
_spec: Callable[..., PartitionSpec] = PartitionSpec
WHOLE = _spec()
SHARE = _spec(AXIS)  # one entry for each device
OVER_BATCH = _spec(None, AXIS)  # (T or layers, B, ...)
OVER_HIDDEN_BATCH = _spec(None, None, AXIS)  # (layers, T, B, H)

Location = Any  # a jax.Device, or a NamedSharding
Function = Callable[..., tuple[Any, ...]]


class BatchSharding:
    """The devices of one trainer.

    Attributes:
        devices: in order.
    """

    def __init__(self, name: str, count: int) -> None:
        self.devices = find_devices(name, count)
        self._mesh = Mesh(np.array(self.devices), (AXIS,)) if count > 1 else None

    @property
    def everywhere(self) -> Location:
        """The location of weights, moments and rates: every device."""
        return self.devices[0] if self._mesh is None else NamedSharding(self._mesh, WHOLE)

    def of_batch(self, size: int) -> Location:
        """Return the location of arrays (T, B, ...) or (layers, B, ...): each device has a share.

        If they cannot be split evenly, every device has all of them.
        """
        if self._mesh is None or not self._splits(size):
            return self.everywhere
        return NamedSharding(self._mesh, OVER_BATCH)

    def shares(self, size: int) -> jax.Array | None:
        """Return the numbers of a batch's shares, split as ``SHARE``; None if not split."""
        return jax.numpy.arange(len(self.devices)) if self._splits(size) else None

    def over_batch(
        self,
        function: Function,
        size: int,
        in_specs: tuple[PartitionSpec, ...],
        out_specs: tuple[PartitionSpec, ...],
    ) -> Function:
        """Return ``function`` run by every device on its share of a batch of ``size`` sequences.

        Args:
            function: of one share.
            size: B.
            in_specs: how each argument is split.
            out_specs: how each result is put together; ``WHOLE`` is the sum over the shares.
        """
        if self._mesh is None or not self._splits(size):
            return function

        def of_share(*arguments: Any) -> tuple[Any, ...]:
            results = function(*arguments)
            return tuple(
                lax.psum(result, AXIS) if spec == WHOLE else result  # type: ignore[no-untyped-call]
                for result, spec in zip(results, out_specs, strict=True)
            )

        return _shard_map(of_share, self._mesh, in_specs, out_specs)

    def _splits(self, size: int) -> bool:
        return self._mesh is not None and size % len(self.devices) == 0


def parts(array: jax.Array) -> int:
    """Return over how many devices the batch of a state (layers, B, H) is split."""
    return array.shape[1] // array.sharding.shard_shape(array.shape)[1]


def _shard_map(function: Function, mesh: Mesh, in_specs: Any, out_specs: Any) -> Function:
    """Call JAX's function, once in ``jax.experimental``; its check rejects the sums here."""
    if hasattr(jax, "shard_map"):
        new: Function = jax.shard_map(
            function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
        )
        return new
    home: Any = import_module("jax.experimental.shard_map")
    old: Function = home.shard_map(
        function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_rep=False
    )
    return old
