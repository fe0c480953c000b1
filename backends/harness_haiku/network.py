"""A stack of Haiku's recurrent cores, each under ``haiku.dynamic_unroll``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import haiku as hk
import jax.numpy as jnp
from jax import Array

from harness.cells import LSTM, ReluRNN, ResetBeforeGRU
from harness.contract import Cell, Model
from harness_jax.traced import States, Traced, Tree
from harness_peers.arrays import LayerParameters, encoded, joined, stacked

CORES: dict[type[Cell], Callable[..., hk.RNNCore]] = {
    ReluRNN: hk.VanillaRNN,
    LSTM: hk.LSTM,
    ResetBeforeGRU: hk.GRU,
}
unroll: Callable[..., tuple[Array, Any]] = hk.dynamic_unroll  # it has no annotations
FORGET_BIAS = 1.0  # haiku.LSTM adds it to the forget gate, in addition to the trained bias


class HaikuNetwork(Traced):
    """One model in Haiku. For d loss / d h_t a probe is added to each h_t of the same cores.

    Weights: of the modules ``layer_N`` and ``readout``. ``LSTM`` has one bias for b_ih + b_hh;
    ``VanillaRNN`` has both. ``LSTM`` and ``GRU`` have other orders of gates.
    """

    own_weights = True

    def __init__(self, model: Model) -> None:
        self.model = model
        self._forward = hk.transform(self._stack)

    def weights(self, parameters: dict[str, Array]) -> Tree:
        """Return the parameters by module."""
        modules: Tree = {"readout": {"w": parameters["weight_out"].T, "b": parameters["bias_out"]}}
        if self.model.embedding is not None:
            modules["embedding"] = {"embeddings": parameters["embedding"]}
        convert = {ReluRNN: _vanilla, LSTM: _lstm, ResetBeforeGRU: _gru}[type(self.model.cell)]
        for index in range(self.model.layers):
            layer = LayerParameters.of(self.model.cell, parameters, index)
            for suffix, own in convert(layer).items():
                modules[f"layer_{index}{suffix}"] = own
        return modules

    def outputs(
        self,
        weights: Tree,
        inputs: Array,
        state: States,
        key: Array | None = None,
        probes: Array | None = None,
    ) -> tuple[Array, States]:
        """Apply the transformed stack."""
        result: tuple[Array, States] = self._forward.apply(weights, key, inputs, state, probes)
        return result

    def _stack(self, inputs: Array, state: States, probes: Array | None) -> tuple[Array, States]:
        values, finals = encoded(self.model, inputs, state[0].dtype), []
        if self.model.embedding is not None:
            size, width = self.model.inputs.size, self.model.embedding
            values = hk.Embed(size, width, name="embedding")(values)
        for index in range(self.model.layers):
            core = CORES[type(self.model.cell)](self.model.hidden, name=f"layer_{index}")
            start = _haiku_state(tuple(part[index] for part in state))
            if probes is None:
                values, final = unroll(core, values, start)
            else:
                values, final = unroll(_probed(core), (values, probes[index]), start)
            finals.append(_core_state(final))
            if hk.maybe_next_rng_key() is not None and index < self.model.layers - 1:
                values = hk.dropout(hk.next_rng_key(), self.model.dropout, values)
        return hk.Linear(self.model.outputs, name="readout")(values), stacked(finals)


def _probed(core: hk.RNNCore) -> Callable[[Any, Any], tuple[Array, Any]]:
    def advance(inputs: tuple[Array, Array], state: Any) -> tuple[Array, Any]:
        values, probe = inputs
        h, *others = _core_state(core(values, state)[1])
        h += probe
        return h, _haiku_state((h, *others))

    return advance


def _haiku_state(state: Sequence[Array]) -> Any:
    return state[0] if len(state) == 1 else hk.LSTMState(*state)


def _core_state(state: Any) -> States:
    return tuple(state) if isinstance(state, hk.LSTMState) else (state,)


def _vanilla(layer: LayerParameters) -> Tree:
    return {
        "/linear": {"w": layer.weight_ih.T, "b": layer.bias_ih},
        "/linear_1": {"w": layer.weight_hh.T, "b": layer.bias_hh},
    }


def _lstm(layer: LayerParameters) -> Tree:
    """Return one matrix for inputs and h, and its bias; gates i, g, f, o."""
    i, f, g, o = layer.gates(4)
    ordered = joined([i, g, f._replace(bias_hh=f.bias_hh - FORGET_BIAS), o])
    weight = jnp.concatenate([ordered.weight_ih, ordered.weight_hh], axis=1)
    return {"/linear": {"w": weight.T, "b": ordered.bias_ih + ordered.bias_hh}}


def _gru(layer: LayerParameters) -> Tree:
    """Return gates z, r, a. Haiku's z weights the new state, the core's the old: its negative."""
    r, z, n = layer.gates(3)
    ordered = joined([LayerParameters(*(-part for part in z)), r, n])
    return {"": {"w_i": ordered.weight_ih.T, "w_h": ordered.weight_hh.T, "b": ordered.bias_ih}}
