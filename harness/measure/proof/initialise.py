"""Initial weights, drawn in float64, the same for all backends. Each tensor has a random stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from harness.contract import (
    Array,
    Cell,
    Model,
    Parameters,
    PluginError,
    UnsupportedError,
    UsageError,
)
from harness.contract.wording import shortened, text_of
from harness.measure.proof.streams import generator

Scheme = Literal["torch", "glorot", "identity"]
Draw = Callable[[np.random.Generator, str, tuple[int, ...], Model], Array]

LONGEST = 200  # characters of a cell's answer in a message
IRNN_DEVIATION = 0.001  # Le, Jaitly & Hinton 2015, section 3


def initial_parameters(
    model: Model,
    seed: int,
    *,
    scheme: Scheme = "torch",
    forget_bias: float | None = None,
    chrono: int | None = None,
) -> Parameters:
    """Return float64 parameters by name, in the order of ``Model.parameter_shapes``.

    Args:
        model: gives names and shapes.
        seed: the model seed; tensor NAME is drawn from the stream ``("model", NAME)``.
        scheme: ``torch``: U(-1/sqrt(H), 1/sqrt(H)) for every tensor, as ``torch.nn`` does;
            ``glorot``: per gate, Glorot-uniform input weights and orthogonal recurrent weights,
            Glorot-uniform readout, zero biases (Glorot & Bengio 2010; Saxe et al. 2014);
            ``identity``: per gate, the identity as recurrent weights, N(0, 0.001) for input weights
            and readout, zero biases (IRNN: Le, Jaitly & Hinton 2015). In each, a cell's vectors are
            drawn as by ``torch``, unless the cell gives their values. An embedding is drawn from
            N(0, 1) in each, as by ``torch.nn.Embedding``; a tied one as the readout's weight, whose
            products with h would else have a variance of H.
        forget_bias: the sum of the memory gate's two biases (Jozefowicz et al. 2015 take 1). The
            sign is reversed for a gate that keeps the state when it is near 0, so that a larger
            number always means a longer memory.
        chrono: T_max, the longest expected dependency. The memory gate's bias is
            log U(1, T_max - 1); that of a separate input gate is its negative (Tallec & Ollivier
            2018). The sign is as for ``forget_bias``.

    Raises:
        UnsupportedError: the cell has no memory gate to set.
        PluginError: the cell's own values do not fit its vectors.
        UsageError: both ``forget_bias`` and ``chrono`` are set.
    """
    if forget_bias is not None and chrono is not None:
        raise UsageError("forget_bias and chrono both set the memory gate's bias: give one of them")
    draw = _SCHEMES[scheme]
    parameters = {
        name: _of_tensor(draw, generator(seed, "model", name), name, shape, model)
        for name, shape in model.parameter_shapes().items()
    }
    for layer in range(model.layers):
        rng = generator(seed, "model", f"vectors_l{layer}")
        for vector, value in _own_vectors(model.cell, model.hidden, rng).items():
            parameters[f"{vector}_l{layer}"] = value
        if forget_bias is not None:
            gate = _memory_gate(model.cell, "forget_bias")
            _set_bias(parameters, model, layer, gate, model.cell.memory_sign * forget_bias)
        if chrono is not None:
            rng = generator(seed, "model", f"bias_ih_l{layer}", "chrono")
            _set_chrono(parameters, model, layer, chrono, rng)
    return parameters


def _of_tensor(
    draw: Draw, rng: np.random.Generator, name: str, shape: tuple[int, ...], model: Model
) -> Array:
    if name != "embedding":
        return draw(rng, name, shape, model)
    return draw(rng, "weight_out", shape, model) if model.tied_readout else rng.normal(size=shape)


def _own_vectors(cell: Cell, hidden: int, rng: np.random.Generator) -> Mapping[str, Array]:
    answer = cell.initial_vectors(hidden, rng)
    try:
        values = {name: np.asarray(value, np.float64) for name, value in answer.items()}
        fit = values.keys() <= {*cell.vectors} and all(
            value.shape == (hidden,) and np.isfinite(value).all() for value in values.values()
        )
    except (AttributeError, TypeError, ValueError):
        fit = False
    if not fit:
        raise PluginError(
            f"cell {cell.name!r}: initial_vectors() must return {hidden} finite numbers for each "
            f"vector that it names, of {', '.join(cell.vectors) or 'none'}; "
            f"got {shortened(text_of(answer), LONGEST)}"
        )
    return values


def _torch(rng: np.random.Generator, _name: str, shape: tuple[int, ...], model: Model) -> Array:
    bound = 1 / np.sqrt(model.hidden)
    return rng.uniform(-bound, bound, shape)


def _glorot(rng: np.random.Generator, name: str, shape: tuple[int, ...], model: Model) -> Array:
    if name.startswith("bias"):
        return np.zeros(shape)
    if len(shape) == 1:
        return _torch(rng, name, shape, model)
    if name == "weight_out":
        return _glorot_uniform(rng, shape)
    block = _glorot_uniform if name.startswith("weight_ih") else _orthogonal
    pieces = range(shape[0] // model.hidden)
    return np.concatenate([block(rng, (model.hidden, shape[1])) for _ in pieces])


def _identity(rng: np.random.Generator, name: str, shape: tuple[int, ...], model: Model) -> Array:
    if name.startswith("bias"):
        return np.zeros(shape)
    if len(shape) == 1:
        return _torch(rng, name, shape, model)
    if name.startswith(("weight_ih", "weight_out")):
        return rng.normal(0.0, IRNN_DEVIATION, shape)
    return np.tile(np.eye(model.hidden), (shape[0] // model.hidden, 1))


_SCHEMES: dict[str, Draw] = {"torch": _torch, "glorot": _glorot, "identity": _identity}


def _glorot_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    bound = np.sqrt(6 / sum(shape))
    return rng.uniform(-bound, bound, shape)


def _orthogonal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    q, r = np.linalg.qr(rng.normal(size=shape))
    signs: Array = np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return q * signs  # uniform over orthogonal matrices (Mezzadri 2007)


def _memory_gate(cell: Cell, option: str) -> str:
    if cell.memory_gate is None:
        raise UnsupportedError(
            f"{option} needs a cell with a memory gate (as lstm and gru have): "
            f"{cell.name} names none"
        )
    return cell.memory_gate


def _set_bias(
    parameters: Parameters, model: Model, layer: int, gate: str, value: Array | float
) -> None:
    rows = slice(start := model.cell.gates.index(gate) * model.hidden, start + model.hidden)
    parameters[f"bias_ih_l{layer}"][rows] = value
    for product in model.cell.products:
        gates = product.gates or model.cell.gates
        if product.bias and gate in gates:
            start = gates.index(gate) * model.hidden
            parameters[f"bias_{product.name}_l{layer}"][start : start + model.hidden] = 0.0


def _set_chrono(
    parameters: Parameters, model: Model, layer: int, longest: int, rng: np.random.Generator
) -> None:
    memory = _memory_gate(model.cell, "chrono")
    bias = np.log(rng.uniform(1.0, max(longest - 1.0, 1.0), model.hidden))
    _set_bias(parameters, model, layer, memory, model.cell.memory_sign * bias)
    if model.cell.input_gate is not None:
        _set_bias(parameters, model, layer, model.cell.input_gate, -bias)
