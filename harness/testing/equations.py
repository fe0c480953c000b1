"""The mathematics of the contract in plain NumPy, forward only and slow, to check backends with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.cells.operations import LayerOps
from harness.contract import Array, Batch, Cell, Model, Optimizer, Parameters, State
from harness.contract.cell import CellState
from harness.recurrence import step_of


@dataclass(frozen=True, eq=False)
class Nudge:
    """A change ``delta`` (B, H) of h in one layer after one time step, to differentiate by h_t."""

    layer: int
    step: int
    delta: Array


@dataclass(frozen=True, eq=False)
class Outcome:
    """One forward pass: outputs (T, B, K), mean loss, and final state, each (layers, B, H)."""

    outputs: Array
    loss: float
    state: State


def run_equations(
    model: Model,
    parameters: Parameters,
    batch: Batch,
    state: State | None = None,
    nudge: Nudge | None = None,
) -> Outcome:
    """Run ``batch`` step by step from ``state`` (None: zeros), dropout off."""
    x = _encoded(model, parameters, batch)
    finals: list[CellState] = []
    for layer in range(model.layers):
        start, end = _start(model, batch, state, layer), f"_l{layer}"
        weights = {
            name.removesuffix(end): p for name, p in parameters.items() if name.endswith(end)
        }
        layer_nudge = nudge if nudge and nudge.layer == layer else None
        x, final = _layer(model.cell, weights, x, start, layer_nudge)
        finals.append(final)
    outputs = x @ parameters[model.readout_weight].T + parameters["bias_out"]
    final_state = tuple(np.stack(part) for part in zip(*finals, strict=True))
    return Outcome(outputs, mean_loss(model, outputs, batch), final_state)


def mean_loss(model: Model, outputs: Array, batch: Batch) -> float:
    """Return the mean loss over the positions where the mask is True; cross-entropy in nats."""
    if model.loss == "squared_error":
        per_position = np.mean((outputs - batch.targets) ** 2, axis=-1)
    elif model.loss == "binary_cross_entropy":
        signed = np.where(batch.targets == 1, outputs, -outputs)  # targets are 0 or 1 here
        per_position = np.mean(np.logaddexp(0, -signed), axis=-1)
    else:
        shifted = outputs - outputs.max(axis=-1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        classes = batch.targets[..., None].astype(np.int64)
        per_position = -np.take_along_axis(log_p, classes, axis=-1)[..., 0]
    return float(per_position[batch.mask].mean())


class Updates:
    """The update rule of an ``Optimizer`` applied to a copy of ``parameters`` in float64."""

    def __init__(self, optimizer: Optimizer, parameters: Parameters) -> None:
        self.optimizer = optimizer
        self.parameters: Parameters = {
            name: np.array(value, dtype=np.float64) for name, value in parameters.items()
        }
        self._first = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        self._second = {
            name: np.full_like(value, optimizer.initial_square)
            for name, value in self.parameters.items()
        }
        self._count = 0

    def step(self, gradients: Parameters) -> tuple[float, bool]:
        """Update in place; return the global norm before clipping, and whether clipping acted."""
        norm = float(np.sqrt(sum(np.sum(np.square(g)) for g in gradients.values())))
        clipped = {name: self._clip(g, norm) for name, g in gradients.items()}
        rate = self.optimizer.learning_rate_at(self._count)
        self._count += 1
        for name, gradient in clipped.items():
            self.parameters[name] = self.parameters[name] - rate * self._direction(name, gradient)
        return norm, any(not np.array_equal(clipped[name], g) for name, g in gradients.items())

    def _clip(self, gradient: Array, norm: float) -> Array:
        rule = self.optimizer
        if rule.clip_norm is not None and norm > rule.clip_norm:
            return gradient * (rule.clip_norm / norm)
        if rule.clip_value is not None:
            return np.clip(gradient, -rule.clip_value, rule.clip_value)
        return gradient

    def _direction(self, name: str, g: Array) -> Array:
        rule, first, second = self.optimizer, self._first, self._second
        if rule.name == "sgd":
            first[name] = rule.momentum * first[name] + g
            return first[name]
        if rule.name == "rmsprop":
            second[name] = rule.decay * second[name] + (1 - rule.decay) * g**2
            return g / self._root(second[name])
        if rule.name == "adagrad":
            second[name] = second[name] + g**2
            return g / self._root(second[name])
        first[name] = rule.beta1 * first[name] + (1 - rule.beta1) * g
        second[name] = rule.beta2 * second[name] + (1 - rule.beta2) * g**2
        unbiased = second[name] / (1 - rule.beta2**self._count)
        unbiased_first = first[name] / (1 - rule.beta1**self._count)
        direction: Array = unbiased_first / self._root(unbiased)
        return direction + rule.weight_decay * self.parameters[name]

    def _root(self, square: Array) -> Array:
        epsilon = self.optimizer.epsilon
        root: Array = (
            np.sqrt(square + epsilon)
            if self.optimizer.epsilon_in_root
            else np.sqrt(square) + epsilon
        )
        return root


def _encoded(model: Model, parameters: Parameters, batch: Batch) -> Array:
    if model.inputs.kind == "token":
        one_hot: Array = np.eye(model.inputs.size)[batch.inputs]
        return one_hot if model.embedding is None else one_hot @ parameters["embedding"]
    return np.asarray(batch.inputs, np.float64)


def _start(model: Model, batch: Batch, state: State | None, layer: int) -> CellState:
    if state is None:
        shapes = model.cell.state_shapes(model.hidden)
        return tuple(np.zeros((batch.size, *shape)) for shape in shapes)
    return tuple(part[layer] for part in state)


def _layer(
    cell: Cell, weights: Parameters, x: Array, state: CellState, nudge: Nudge | None
) -> tuple[Array, CellState]:
    outputs, step = [], step_of(cell)
    for t, x_t in enumerate(x):
        zx = x_t @ weights["weight_ih"].T + weights["bias_ih"]
        state = step(LayerOps(weights), zx, state, tuple(weights[name] for name in cell.vectors))
        if nudge is not None and nudge.step == t:
            state = (state[0] + nudge.delta, *state[1:])
        outputs.append(state[0])
    return np.stack(outputs), state
