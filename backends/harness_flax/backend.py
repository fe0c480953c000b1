"""The Flax backend's metadata. No flax import at the top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import Cell, Execution, Model
from harness_peers import JaxPeer
from harness_peers.jax_peer import JAX

if TYPE_CHECKING:
    from harness_jax.traced import Traced

NNX_GRU = (
    "flax.nnx.GRUCell has no recurrent bias: b_hn is added outside the reset gate, "
    "n = tanh(W_in x + b_in + b_hn + r * (W_hn h))"
)


class FlaxBackend(JaxPeer):
    """Flax on JAX, in both of its interfaces.

    ``linen``: ``flax.linen.RNN`` over ``OptimizedLSTMCell``, ``GRUCell`` or ``SimpleCell``.
    ``nnx``: ``flax.nnx.RNN`` over the cells of the same names; its ``GRUCell`` is another function.
    """

    name = "flax"
    title = "Flax"
    libraries = {"flax": "flax"} | JAX
    cells = dict.fromkeys((RNN, ReluRNN, LSTM, GRU), ("linen", "nnx"))

    def deviation(self, cell: Cell, variant: str) -> str | None:
        """Say how nnx's GRU differs."""
        return NNX_GRU if variant == "nnx" and type(cell) is GRU else None

    def network(self, model: Model, execution: Execution) -> Traced:
        """Return the network of either interface."""
        if execution.variant == "linen":
            from harness_flax.linen import LinenNetwork

            return LinenNetwork(model)
        from harness_flax.nnx import NnxNetwork

        return NnxNetwork(model, execution.dtype)
