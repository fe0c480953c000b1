"""A peer whose layers JAX traces: everything but the network is the JAX backend's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.contract import Array, Execution, Model, Optimizer, Parameters, Trainer
from harness_jax import JaxBackend
from harness_peers.backend import Peer

if TYPE_CHECKING:
    from harness_jax.traced import Traced

JAX = {"jax": "jax", "jaxlib": "jaxlib", "optax": "optax"}


class JaxPeer(Peer):
    """A library on JAX: devices, threads, compilation and memory as in the JAX backend."""

    def __init__(self) -> None:
        self._jax = JaxBackend()

    def devices(self) -> tuple[str, ...]:
        """Return JAX's devices."""
        return self._jax.devices()

    def environment(self, threads: int, devices: int = 1) -> dict[str, str]:
        """Return the JAX backend's variables."""
        return self._jax.environment(threads, devices)

    def threads(self) -> int | None:
        """Return the size of XLA's CPU thread pool."""
        return self._jax.threads()

    def product_chain(
        self, start: Array, matrices: Sequence[Array], execution: Execution
    ) -> Callable[[int], Array] | None:
        """Return the chain of products in JAX."""
        return self._jax.product_chain(start, matrices, execution)

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Recognise what the JAX backend recognises."""
        return self._jax.is_out_of_memory(error)

    @abstractmethod
    def network(self, model: Model, execution: Execution) -> Traced:
        """Return the network of this variant; called inside ``harness_jax.device.settings``."""

    def _trainer(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> Trainer:
        from harness_jax.device import find_device, settings
        from harness_jax.trainer import JaxTrainer

        with settings(find_device(execution.device), execution.dtype):
            network = self.network(model, execution)
        return JaxTrainer(network, optimizer, parameters, execution)
