"""Variant ``nnx``: a stack of ``flax.nnx.RNN``, split into arrays and merged again in the trace."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from flax import nnx
from jax import Array

from harness.cells import LSTM, RNN, InputBiasGRU, ReluRNN
from harness.contract import Cell, Dtype, Model
from harness_flax.carry import carry_of, probed, state_of, with_probe
from harness_jax.traced import States, Traced, Tree
from harness_peers.arrays import LayerParameters, encoded, stacked

CELLS: dict[type[Cell], Callable[..., nnx.RNNCellBase]] = {
    RNN: nnx.SimpleCell,
    ReluRNN: partial(nnx.SimpleCell, activation_fn=nnx.relu),
    LSTM: nnx.OptimizedLSTMCell,
    InputBiasGRU: nnx.GRUCell,
}
ZEROS = nnx.initializers.zeros_init()  # the core's weights replace them


class NnxNetwork(Traced):
    """One model in ``flax.nnx``. For d loss / d h_t a probe is added to each h_t of its cells.

    Weights: the pure dict of the parameters of ``Stack``. Every cell has one bias.
    """

    own_weights = True

    def __init__(self, model: Model, dtype: Dtype) -> None:
        self.model = model
        parts: Any = nnx.split(Stack(model, dtype, nnx.Rngs(0)), nnx.Param, ...)
        self._graph, self._start, self._rest = parts

    def weights(self, parameters: dict[str, Array]) -> Tree:
        """Return the parameters by module."""
        layers = {f"rnn_{n}": {"cell": self._cell(parameters, n)} for n in range(self.model.layers)}
        if self.model.embedding is not None:
            layers["embedding"] = {"embedding": parameters["embedding"]}
        return layers | {
            "readout": {"kernel": parameters["weight_out"].T, "bias": parameters["bias_out"]}
        }

    def outputs(
        self,
        weights: Tree,
        inputs: Array,
        state: States,
        key: Array | None = None,
        probes: Array | None = None,
    ) -> tuple[Array, States]:
        """Merge the stack and call it."""
        parameters = jax.tree.map(lambda array: array, self._start)  # copied: it is written to
        nnx.replace_by_pure_dict(parameters, weights)
        stack = nnx.merge(self._graph, parameters, self._rest)
        carries = [
            carry_of(tuple(part[layer] for part in state)) for layer in range(self.model.layers)
        ]
        rngs = None if key is None else nnx.Rngs(dropout=key)
        outputs, finals = stack(encoded(self.model, inputs, state[0].dtype), carries, probes, rngs)
        return outputs, stacked([state_of(final) for final in finals])

    def _cell(self, parameters: dict[str, Array], index: int) -> Tree:
        layer = LayerParameters.of(self.model.cell, parameters, index)
        inputs, hidden = {"kernel": layer.weight_ih.T}, {"kernel": layer.weight_hh.T}
        biased = hidden if type(self.model.cell) is LSTM else inputs
        biased["bias"] = layer.bias_ih + layer.bias_hh
        return {"dense_i": inputs, "dense_h": hidden}


class Stack(nnx.Module):
    """Stacked recurrent layers with dropout between them, and a dense readout."""

    def __init__(self, model: Model, dtype: Dtype, rngs: nnx.Rngs) -> None:
        self.layers = model.layers
        table = None
        if model.embedding is not None:
            table = nnx.Embed(
                model.inputs.size, model.embedding, dtype=dtype, param_dtype=dtype, rngs=rngs
            )
        self.embedding = nnx.data(table)
        for index in range(model.layers):
            width = model.input_width if index == 0 else model.hidden
            cell = CELLS[type(model.cell)](
                width,
                model.hidden,
                kernel_init=ZEROS,
                recurrent_kernel_init=ZEROS,
                dtype=dtype,  # SimpleCell's default is float32, whatever its weights are
                param_dtype=dtype,
                rngs=rngs,
            )
            setattr(self, f"rnn_{index}", nnx.RNN(cell, time_major=True, return_carry=True))
        self.dropout = nnx.Dropout(model.dropout)
        self.readout = nnx.Linear(
            model.hidden, model.outputs, kernel_init=ZEROS, param_dtype=dtype, rngs=rngs
        )

    def __call__(
        self, values: Array, carries: list[Any], probes: Array | None, rngs: nnx.Rngs | None
    ) -> tuple[Array, list[Any]]:
        """Return outputs (T, B, K) and the final carries, given values (T, B, D), or tokens."""
        finals = []
        if self.embedding is not None:
            values = self.embedding(values)
        for index, carry in enumerate(carries):
            rnn = getattr(self, f"rnn_{index}")
            if probes is not None:
                rnn = nnx.RNN(Probed(rnn.cell), time_major=True, return_carry=True)
                values = with_probe(values, probes[index])
            final, values = rnn(values, initial_carry=carry)
            finals.append(final)
            if index < self.layers - 1:
                values = self.dropout(values, deterministic=rngs is None, rngs=rngs)
        return self.readout(values), finals


class Probed(nnx.RNNCellBase):
    """A cell whose last H inputs are added to its h."""

    def __init__(self, cell: nnx.RNNCellBase) -> None:
        self.cell = cell

    def __call__(self, carry: Any, inputs: Array) -> tuple[Any, Array]:
        """Run the cell on the other inputs."""
        return probed(self.cell, carry, inputs)

    @property
    def num_feature_axes(self) -> int:
        """Inputs are vectors."""
        return 1
