"""The Haiku backend's metadata. No haiku import at the top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cells import LSTM, ReluRNN, ResetBeforeGRU
from harness.contract import Execution, Model
from harness_peers import JaxPeer
from harness_peers.jax_peer import JAX

if TYPE_CHECKING:
    from harness_jax.traced import Traced


class HaikuBackend(JaxPeer):
    """Haiku on JAX: ``haiku.dynamic_unroll`` of ``LSTM``, ``GRU`` or ``VanillaRNN`` (with ReLU).

    Its ``GRU`` is ``gru_reset_before``: that of Cho et al. 2014.
    """

    name = "haiku"
    title = "Haiku"
    libraries = {"haiku": "dm-haiku"} | JAX
    cells = dict.fromkeys((ReluRNN, LSTM, ResetBeforeGRU), ("unroll",))

    def network(self, model: Model, execution: Execution) -> Traced:
        """Return the network."""
        from harness_haiku.network import HaikuNetwork

        return HaikuNetwork(model)
