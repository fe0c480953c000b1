"""The JAX backend. Importing this imports no jax."""

from collections.abc import Sequence

from harness.contract import Backend, hookimpl
from harness_jax.backend import JaxBackend

__all__ = ["JaxBackend", "harness_backends"]


@hookimpl
def harness_backends() -> Sequence[Backend]:
    """Offer jax."""
    return [JaxBackend()]
