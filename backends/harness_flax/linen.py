"""Variant ``linen``: a stack of ``flax.linen.RNN``, written as Flax's documentation has it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from flax import linen as nn
from jax import Array

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import Cell, Model
from harness_flax.carry import carry_of, probed, state_of, with_probe
from harness_jax.traced import States, Traced, Tree
from harness_peers.arrays import LayerParameters, encoded, stacked

CELLS: dict[type[Cell], Callable[..., nn.RNNCellBase]] = {
    RNN: nn.SimpleCell,
    ReluRNN: partial(nn.SimpleCell, activation_fn=nn.relu),
    LSTM: nn.OptimizedLSTMCell,
    GRU: nn.GRUCell,
}


class LinenNetwork(Traced):
    """One model in ``flax.linen``. For d loss / d h_t a probe is added to each h_t of its cells.

    Weights: the parameters of ``Stack``. LSTM and SimpleCell have one bias for b_ih + b_hh; GRUCell
    one for r and z each, and two for n.
    """

    own_weights = True

    def __init__(self, model: Model) -> None:
        self.model, self._stack = model, Stack(model)

    def weights(self, parameters: dict[str, Array]) -> Tree:
        """Return ``{"params": ...}``."""
        layers = {
            f"cell_{n}": self._cell(LayerParameters.of(self.model.cell, parameters, n))
            for n in range(self.model.layers)
        }
        readout = {"kernel": parameters["weight_out"].T, "bias": parameters["bias_out"]}
        if self.model.embedding is not None:
            layers["embedding"] = {"embedding": parameters["embedding"]}
        return {"params": layers | {"readout": readout}}

    def outputs(
        self,
        weights: Tree,
        inputs: Array,
        state: States,
        key: Array | None = None,
        probes: Array | None = None,
    ) -> tuple[Array, States]:
        """Apply the stack."""
        vectors = encoded(self.model, inputs, state[0].dtype)
        carries = [
            carry_of(tuple(part[layer] for part in state)) for layer in range(self.model.layers)
        ]
        rngs = None if key is None else {"dropout": key}
        outputs, finals = self._stack.apply(
            weights, vectors, carries, probes, key is None, rngs=rngs
        )
        return outputs, stacked([state_of(final) for final in finals])

    def _cell(self, layer: LayerParameters) -> Tree:
        gates = layer.gates(len(self.model.cell.gates))
        if type(self.model.cell) is LSTM:
            kernels: Tree = {}
            for name, gate in zip("ifgo", gates, strict=True):
                kernels[f"i{name}"] = _kernel(gate.weight_ih)
                kernels[f"h{name}"] = _kernel(gate.weight_hh, gate.bias_ih + gate.bias_hh)
            return kernels
        if type(self.model.cell) is GRU:
            return _gru(*gates)
        bias = layer.bias_ih + layer.bias_hh
        return {"i": _kernel(layer.weight_ih, bias), "h": _kernel(layer.weight_hh)}


class Stack(nn.Module):
    """Stacked recurrent layers with dropout between them, and a dense readout."""

    model: Model

    @nn.compact
    def __call__(
        self, values: Array, carries: list[Any], probes: Array | None, deterministic: bool
    ) -> tuple[Array, list[Any]]:
        """Return outputs (T, B, K) and the final carries, given values (T, B, D), or tokens."""
        finals = []
        if self.model.embedding is not None:
            table = nn.Embed(self.model.inputs.size, self.model.embedding, name="embedding")
            values = table(values)
        for index, carry in enumerate(carries):
            cell = CELLS[type(self.model.cell)](self.model.hidden, name=f"cell_{index}")
            if probes is not None:
                cell, values = Probed(cell), with_probe(values, probes[index])
            final, values = nn.RNN(cell, time_major=True, return_carry=True)(
                values, initial_carry=carry
            )
            finals.append(final)
            if index < self.model.layers - 1:
                values = nn.Dropout(self.model.dropout, deterministic=deterministic)(values)
        return nn.Dense(self.model.outputs, name="readout")(values), finals


class Probed(nn.RNNCellBase):
    """A cell whose last H inputs are added to its h."""

    cell: nn.RNNCellBase

    def __call__(self, carry: Any, inputs: Array) -> tuple[Any, Array]:
        """Run the cell on the other inputs."""
        return probed(self.cell, carry, inputs)

    @property
    def num_feature_axes(self) -> int:
        """Inputs are vectors."""
        return 1


def _gru(reset: LayerParameters, update: LayerParameters, new: LayerParameters) -> Tree:
    return {
        "ir": _kernel(reset.weight_ih, reset.bias_ih + reset.bias_hh),
        "iz": _kernel(update.weight_ih, update.bias_ih + update.bias_hh),
        "in": _kernel(new.weight_ih, new.bias_ih),
        "hr": _kernel(reset.weight_hh),
        "hz": _kernel(update.weight_hh),
        "hn": _kernel(new.weight_hh, new.bias_hh),
    }


def _kernel(weight: Array, bias: Array | None = None) -> Tree:
    return {"kernel": weight.T} | ({} if bias is None else {"bias": bias})
