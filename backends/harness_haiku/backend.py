"""The Haiku backend's metadata. No haiku import at the top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.cells import GRU, LSTM, ReluRNN
from harness.contract import Cell, Execution, Model
from harness_peers import JaxPeer
from harness_peers.jax_peer import JAX

if TYPE_CHECKING:
    from harness_jax.traced import Traced

RESET_FIRST = (
    "haiku.GRU resets h before the product, and its candidate has one bias: "
    "n = tanh(W_in x + b_in + b_hn + W_hn (r * h))"
)


class HaikuBackend(JaxPeer):
    """Haiku on JAX: ``haiku.dynamic_unroll`` of ``LSTM``, ``GRU`` or ``VanillaRNN`` (with ReLU).

    Its ``GRU`` is another function: that of Cho et al. 2014.
    """

    name = "haiku"
    title = "Haiku"
    libraries = {"haiku": "dm-haiku"} | JAX
    cells = dict.fromkeys((ReluRNN, LSTM, GRU), ("unroll",))

    def deviation(self, cell: Cell, variant: str) -> str | None:
        """Say how Haiku's GRU differs."""
        return RESET_FIRST if type(cell) is GRU else None

    def network(self, model: Model, execution: Execution) -> Traced:
        """Return the network."""
        from harness_haiku.network import HaikuNetwork

        return HaikuNetwork(model)
