"""The Flax backend's metadata. No flax import at the top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cells import GRU, LSTM, RNN, InputBiasGRU, ReluRNN
from harness.contract import Execution, Model
from harness_peers import JaxPeer
from harness_peers.jax_peer import JAX

if TYPE_CHECKING:
    from harness_jax.traced import Traced


class FlaxBackend(JaxPeer):
    """Flax on JAX, in both of its interfaces.

    ``linen``: ``flax.linen.RNN`` over ``OptimizedLSTMCell``, ``GRUCell`` or ``SimpleCell``.
    ``nnx``: ``flax.nnx.RNN`` over the cells of the same names; its ``GRUCell`` has no recurrent
    bias, so it is ``gru_input_bias``.
    """

    name = "flax"
    title = "Flax"
    libraries = {"flax": "flax"} | JAX
    cells = dict.fromkeys((RNN, ReluRNN, LSTM), ("linen", "nnx")) | {
        GRU: ("linen",),
        InputBiasGRU: ("nnx",),
    }

    def network(self, model: Model, execution: Execution) -> Traced:
        """Return the network of either interface."""
        if execution.variant == "linen":
            from harness_flax.linen import LinenNetwork

            return LinenNetwork(model)
        from harness_flax.nnx import NnxNetwork

        return NnxNetwork(model, execution.dtype)
