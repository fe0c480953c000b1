"""Keras as two backends, ``keras-torch`` and ``keras-jax``. Importing this imports no keras."""

from collections.abc import Sequence

from harness.contract import Backend, hookimpl
from harness_keras.backend import KerasJaxBackend, KerasTorchBackend

__all__ = ["KerasJaxBackend", "KerasTorchBackend", "harness_backends"]


@hookimpl
def harness_backends() -> Sequence[Backend]:
    """Offer keras-torch and keras-jax."""
    return [KerasTorchBackend(), KerasJaxBackend()]
