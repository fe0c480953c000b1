"""Equinox as a backend. Importing this imports no equinox."""

from collections.abc import Sequence

from harness.contract import Backend, hookimpl
from harness_equinox.backend import EquinoxBackend

__all__ = ["EquinoxBackend", "harness_backends"]


@hookimpl
def harness_backends() -> Sequence[Backend]:
    """Offer equinox."""
    return [EquinoxBackend()]
