"""Haiku as a backend. Importing this imports no haiku."""

from collections.abc import Sequence

from harness.contract import Backend, hookimpl
from harness_haiku.backend import HaikuBackend

__all__ = ["HaikuBackend", "harness_backends"]


@hookimpl
def harness_backends() -> Sequence[Backend]:
    """Offer haiku."""
    return [HaikuBackend()]
