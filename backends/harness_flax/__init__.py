"""Flax as a backend: ``linen`` and ``nnx``. Importing this imports no flax."""

from collections.abc import Sequence

from harness.contract import Backend, hookimpl
from harness_flax.backend import FlaxBackend

__all__ = ["FlaxBackend", "harness_backends"]


@hookimpl
def harness_backends() -> Sequence[Backend]:
    """Offer flax."""
    return [FlaxBackend()]
