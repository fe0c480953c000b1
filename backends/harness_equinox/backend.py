"""The Equinox backend's metadata. No equinox import at the top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cells import GRU, LSTM
from harness.contract import Execution, Model
from harness_peers import JaxPeer
from harness_peers.jax_peer import JAX

if TYPE_CHECKING:
    from harness_jax.traced import Traced


class EquinoxBackend(JaxPeer):
    """Equinox on JAX: ``equinox.nn.LSTMCell`` or ``GRUCell``, batched, in ``lax.scan``."""

    name = "equinox"
    title = "Equinox"
    libraries = {"equinox": "equinox"} | JAX
    cells = dict.fromkeys((LSTM, GRU), ("scan",))

    def network(self, model: Model, execution: Execution) -> Traced:
        """Return the network."""
        from harness_equinox.network import EquinoxNetwork

        return EquinoxNetwork(model)
