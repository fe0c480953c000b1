"""A stack of Equinox's recurrent cells under ``lax.scan``, as in its documentation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array, lax

from harness.cells import GRU, LSTM
from harness.contract import Cell, Model
from harness_jax.traced import States, Traced, Tree
from harness_peers.arrays import LayerParameters, encoded, stacked

Dropout = Callable[[Array, int], Array]  # of the values behind a layer, by its index

CELLS: dict[type[Cell], type[eqx.nn.LSTMCell | eqx.nn.GRUCell]] = {
    LSTM: eqx.nn.LSTMCell,
    GRU: eqx.nn.GRUCell,
}


class Stack(eqx.Module):
    """Stacked cells and a linear readout. It holds arrays only: all of it is trained."""

    embedding: eqx.nn.Embedding | None
    cells: list[Any]
    readout: eqx.nn.Linear

    def __init__(self, model: Model, key: Array) -> None:
        kind = CELLS[type(model.cell)]
        size, width = model.inputs.size, model.embedding
        self.embedding = None if width is None else eqx.nn.Embedding(size, width, key=key)
        widths = [model.input_width] + [model.hidden] * (model.layers - 1)
        self.cells = [kind(width, model.hidden, key=key) for width in widths]
        self.readout = eqx.nn.Linear(model.hidden, model.outputs, key=key)

    def __call__(
        self, values: Array, state: States, dropout: Dropout, probes: Array | None
    ) -> tuple[Array, States]:
        """Return outputs (T, B, K) and the final state, given values (T, B, D), or tokens."""
        finals = []
        if self.embedding is not None:
            values = jax.vmap(jax.vmap(self.embedding))(values)
        for index, cell in enumerate(self.cells):
            start = tuple(part[index] for part in state)
            probe = None if probes is None else probes[index]
            values, final = _unrolled(cell, values, start, probe)
            finals.append(final)
            if index < len(self.cells) - 1:
                values = dropout(values, index)
        return jax.vmap(jax.vmap(self.readout))(values), stacked(finals)


class EquinoxNetwork(Traced):
    """One model in Equinox. For d loss / d h_t a probe is added to each h_t of the same cells.

    Weights: a ``Stack``. LSTMCell has one bias for b_ih + b_hh; GRUCell one for r and z each, and
    two for n.
    """

    own_weights = True

    def __init__(self, model: Model) -> None:
        self.model = model
        self._empty = eqx.filter_eval_shape(Stack, model, jax.random.key(0))

    def weights(self, parameters: dict[str, Array]) -> Tree:
        """Return a stack with the parameters in their places."""
        convert = _lstm if type(self.model.cell) is LSTM else _gru
        named = [
            convert(LayerParameters.of(self.model.cell, parameters, index))
            for index in range(self.model.layers)
        ]
        values = [value for layer in named for value in layer.values()]
        values += [parameters["weight_out"], parameters["bias_out"]]
        if self.model.embedding is not None:
            values.append(parameters["embedding"])

        def leaves(stack: Stack) -> list[Array]:
            cells = [
                getattr(cell, name)
                for cell, layer in zip(stack.cells, named, strict=True)
                for name in layer
            ]
            tables = [] if stack.embedding is None else [stack.embedding.weight]
            return [*cells, stack.readout.weight, stack.readout.bias, *tables]

        return eqx.tree_at(leaves, self._empty, values)

    def outputs(
        self,
        weights: Tree,
        inputs: Array,
        state: States,
        key: Array | None = None,
        probes: Array | None = None,
    ) -> tuple[Array, States]:
        """Call the stack."""
        layer = eqx.nn.Dropout(self.model.dropout, inference=key is None)

        def dropout(values: Array, index: int) -> Array:
            return layer(values, key=None if key is None else jax.random.fold_in(key, index))

        result: tuple[Array, States] = weights(
            encoded(self.model, inputs, state[0].dtype), state, dropout, probes
        )
        return result


def _unrolled(cell: Any, values: Array, state: States, probe: Array | None) -> tuple[Array, States]:
    """Return h (T, B, H) and the final state. The cell sees one sequence; ``vmap`` batches it."""

    def advance(state: States, now: tuple[Array, Array | None]) -> tuple[States, Array]:
        value, probe_t = now
        state = _tuple(jax.vmap(cell)(value, state if len(state) > 1 else state[0]))
        if probe_t is not None:
            state = (state[0] + probe_t, *state[1:])
        return state, state[0]

    final, hidden = lax.scan(advance, state, (values, probe))
    return hidden, final


def _tuple(state: Any) -> States:
    return state if isinstance(state, tuple) else (state,)


def _lstm(layer: LayerParameters) -> dict[str, Array]:
    bias = layer.bias_ih + layer.bias_hh
    return {"weight_ih": layer.weight_ih, "weight_hh": layer.weight_hh, "bias": bias}


def _gru(layer: LayerParameters) -> dict[str, Array]:
    r, z, n = layer.gates(3)
    bias = jnp.concatenate([r.bias_ih + r.bias_hh, z.bias_ih + z.bias_hh, n.bias_ih])
    weights = {"weight_ih": layer.weight_ih, "weight_hh": layer.weight_hh}
    return weights | {"bias": bias, "bias_n": n.bias_hh}
