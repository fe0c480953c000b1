"""Initial weights, drawn in float64, the same for all backends. Each tensor has a random stream."""

from __future__ import annotations

import math
from collections.abc import Mapping

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
from harness.contract.weights.initialisation import Draw, draws_of
from harness.contract.wording import shortened, text_of
from harness.measure.proof.streams import generator

LONGEST = 200  # characters of a cell's answer in a message


def initial_parameters(
    model: Model,
    seed: int,
    *,
    scheme: str = "torch",
    forget_bias: float | None = None,
    chrono: int | None = None,
) -> Parameters:
    """Return float64 parameters by name, in the order of ``Model.parameter_shapes``.

    Args:
        model: gives names and shapes.
        seed: the model seed; tensor NAME is drawn from the stream ``("model", NAME)``.
        scheme: ``torch``, ``glorot``, ``identity``, or draws by kind of tensor, as in
            ``harness.contract.weights``. A tensor without a draw comes from U(-1/sqrt(H),
            1/sqrt(H)), as in ``torch.nn``; so do a cell's vectors, unless the cell gives their
            values. An embedding is drawn from N(0, 1), as by ``torch.nn.Embedding``; a tied one as
            the readout's weight, whose products with h would else have a variance of H.
        forget_bias: the sum of the memory gate's two biases (Jozefowicz et al. 2015 take 1). The
            sign is reversed for a gate that keeps the state when it is near 0, so that a larger
            number always means a longer memory.
        chrono: T_max, the longest expected dependency. The memory gate's bias is
            log U(1, T_max - 1); that of a separate input gate is its negative (Tallec & Ollivier
            2018). The sign is as for ``forget_bias``.

    Raises:
        UnsupportedError: the cell has no memory gate to set.
        PluginError: the cell's own values do not fit its vectors.
        ValueError: there is no such scheme.
        UsageError: both ``forget_bias`` and ``chrono`` are set.
    """
    if forget_bias is not None and chrono is not None:
        raise UsageError("forget_bias and chrono both set the memory gate's bias: give one of them")
    draws = draws_of(scheme)
    parameters = {
        name: _of_tensor(draws, generator(seed, "model", name), name, shape, model)
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
    draws: Mapping[str, Draw],
    rng: np.random.Generator,
    name: str,
    shape: tuple[int, ...],
    model: Model,
) -> Array:
    if name == "embedding" and not model.tied_readout:
        return rng.normal(size=shape)
    part = _part(name, shape)
    draw = draws.get(part) or Draw("uniform", 1 / math.sqrt(model.hidden))
    if part in {"recurrent", "input"}:
        gates = range(shape[0] // model.hidden)
        return np.concatenate([_values(rng, draw, (model.hidden, shape[1])) for _ in gates])
    return _values(rng, draw, shape)


def _part(name: str, shape: tuple[int, ...]) -> str:
    """Return of which of ``PARTS`` a tensor is; empty for a cell's vector."""
    if name.startswith("bias"):
        return "bias"
    if len(shape) == 1:
        return ""
    if name in {"weight_out", "embedding"}:  # a tied embedding is the readout's weight
        return "readout"
    return "input" if name.startswith("weight_ih") else "recurrent"


def _values(rng: np.random.Generator, draw: Draw, shape: tuple[int, ...]) -> Array:
    match draw:
        case Draw("uniform", float(bound)):
            return rng.uniform(-bound, bound, shape)
        case Draw("normal", float(deviation)):
            return rng.normal(0.0, deviation, shape)
        case Draw("glorot"):
            bound = math.sqrt(6 / sum(shape))
            return rng.uniform(-bound, bound, shape)
        case Draw("identity"):
            return np.eye(shape[0], shape[1])
        case Draw("orthogonal"):
            return _orthogonal(rng, shape)
    return np.zeros(shape)


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


def _orthogonal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return orthonormal columns, or rows if there are fewer, as ``torch.nn.init.orthogonal_``."""
    values = rng.normal(size=shape)
    is_wide = shape[0] < shape[1]
    q, r = np.linalg.qr(values.T if is_wide else values)
    signs: Array = np.where(np.diagonal(r) < 0, -1.0, 1.0)
    square = q * signs  # uniform over orthogonal matrices (Mezzadri 2007)
    return square.T if is_wide else square


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
