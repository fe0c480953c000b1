"""The probes of the harness, offered as a plugin like any other: NumPy alone, in float64."""

from collections.abc import Sequence

from harness.contract import hookimpl
from harness.contract.probes import Probe
from harness.probes.latent import LatentMemory
from harness.probes.lyapunov import Lyapunov
from harness.probes.memory import LinearMemory
from harness.probes.spectrum import Spectrum

__all__ = ["LatentMemory", "LinearMemory", "Lyapunov", "Spectrum", "harness_probes"]


@hookimpl
def harness_probes() -> Sequence[Probe]:
    """Offer what a network keeps, what it computes, and how far it carries a difference."""
    return [LinearMemory(), LatentMemory(), Lyapunov(), Spectrum()]
