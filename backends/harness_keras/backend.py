"""The metadata of the two Keras backends. No keras import at the top.

Keras reads its engine from ``KERAS_BACKEND`` when it is first imported, and keeps it: one engine
per process. A worker gets the variable from ``environment``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from harness.cells import GRU, LSTM, RNN, ReluRNN, ResetBeforeGRU
from harness.contract import (
    Array,
    Dtype,
    Execution,
    Model,
    Optimizer,
    Parameters,
    Trainer,
    Trial,
    UnavailableError,
    UnsupportedError,
)
from harness_peers import JaxPeer, Peer
from harness_peers.jax_peer import JAX
from harness_torch import TorchBackend

if TYPE_CHECKING:
    from harness_jax.traced import Traced

ENGINE = "KERAS_BACKEND"
NO_FLOAT64 = (
    "Keras's own functions round float64 to float32 "
    "(its promotion rules know no 64 bits): use float32"
)
CELLS = dict.fromkeys((RNN, ReluRNN, LSTM, GRU, ResetBeforeGRU), ("layers",))


class KerasPeer(Peer):
    """Keras's layers: ``SimpleRNN``, ``LSTM``, ``GRU`` with its reset after and before the product.

    Attributes:
        engine: Keras's name for the library that it runs on.
    """

    engine: ClassVar[str]
    title = "Keras"
    cells = CELLS

    def environment(self, threads: int, devices: int = 1) -> dict[str, str]:
        """Return the variables of the engine, and the one that chooses it."""
        return super().environment(threads, devices) | {ENGINE: self.engine}

    def dtypes(self, device: str) -> tuple[Dtype, ...]:
        """Return ``float32``."""
        return ("float32",)

    def why_unsupported(self, model: Model, trial: Trial) -> str | None:
        """Say also that Keras has no float64, or that it runs on another engine in this process."""
        reason = super().why_unsupported(model, trial)
        return reason or (NO_FLOAT64 if trial.dtype == "float64" else self._why_other_engine())

    def trainer(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> Trainer:
        """Return a trainer.

        Raises:
            UnsupportedError: Keras has no such cell, no float64, or runs on another engine in this
                process.
            UnknownNameError: there is no such variant.
            UsageError: the device or dtype is not there, or the parameters do not fit the model.
            UnavailableError: a library cannot be imported.
        """
        if execution.dtype == "float64":
            raise UnsupportedError(NO_FLOAT64)
        return super().trainer(model, optimizer, parameters, execution)

    def _import(self) -> None:
        if reason := self._why_other_engine():
            raise UnsupportedError(reason)
        if "keras" not in sys.modules:
            os.environ[ENGINE] = self.engine
        super()._import()
        import keras

        if keras.backend.backend() != self.engine:
            raise UnavailableError(
                f"Keras was told to run on {self.engine}, but runs on {keras.backend.backend()}"
            )

    def _why_other_engine(self) -> str | None:
        keras = sys.modules.get("keras")
        engine = None if keras is None else keras.backend.backend()
        if engine in (None, self.engine):
            return None
        return (
            f"Keras runs on {engine} in this process, and cannot change: "
            f"{self.name} needs a process of its own"
        )


class KerasJaxBackend(KerasPeer, JaxPeer):
    """Keras on JAX: its layers called statelessly inside one compiled training step."""

    name = "keras-jax"
    engine = "jax"
    libraries: ClassVar[dict[str, str]] = {"keras": "keras"} | JAX

    def network(self, model: Model, execution: Execution) -> Traced:
        """Return the network."""
        from harness_keras.jax_network import KerasJaxNetwork

        return KerasJaxNetwork(model)


class KerasTorchBackend(KerasPeer):
    """Keras on PyTorch, eagerly: its layers, torch's autograd and optimizer."""

    name = "keras-torch"
    engine = "torch"
    libraries: ClassVar[dict[str, str]] = {"keras": "keras", "torch": "torch"}
    fix = (
        'pip install "rnn-harness[peers,torch]"   '
        "(CPU build: --extra-index-url https://download.pytorch.org/whl/cpu)"
    )

    def __init__(self) -> None:
        self._torch = TorchBackend()

    def devices(self) -> tuple[str, ...]:
        """Return PyTorch's devices."""
        return self._torch.devices()

    def threads(self) -> int | None:
        """Return the number of threads of torch's CPU operations."""
        return self._torch.threads()

    def product_chain(
        self, start: Array, matrices: Sequence[Array], execution: Execution
    ) -> Callable[[int], Array] | None:
        """Return the chain of products in PyTorch."""
        return self._torch.product_chain(start, matrices, execution)

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Recognise what the PyTorch backend recognises."""
        return self._torch.is_out_of_memory(error)

    def _trainer(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> Trainer:
        self._torch.check_device(execution.device)
        from harness_keras.torch_trainer import KerasTorchTrainer

        return KerasTorchTrainer(model, optimizer, parameters, execution)
