"""The PyTorch backend. Importing this imports no torch."""

from collections.abc import Sequence

from harness.contract import Backend, hookimpl
from harness_torch.backend import TorchBackend

__all__ = ["TorchBackend", "harness_backends"]


@hookimpl
def harness_backends() -> Sequence[Backend]:
    """Offer torch."""
    return [TorchBackend()]
