"""The NumPy backend: BPTT of any cell. In float64 it is everyone's reference."""

from collections.abc import Sequence

from harness.contract import Backend, hookimpl
from harness_numpy.backend import NumpyBackend

__all__ = ["NumpyBackend", "harness_backends"]


@hookimpl
def harness_backends() -> Sequence[Backend]:
    """Offer numpy."""
    return [NumpyBackend()]
