"""The recurrence of a network one time step at a time, and its gradient, from the cell's trace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.cells.operations import OPS
from harness.contract import Array, Model, Parameters, State
from harness.contract.probes import Stepper
from harness.recurrence import derive

Layer = tuple[Array, ...]  # the states of one layer, each (B, H) or (B, H, H)


class DerivedStepper(Stepper):
    """All layers of a model at its float64 weights.

    Args:
        model: the function.
        parameters: by torch.nn's names, float64.
    """

    def __init__(self, model: Model, parameters: Parameters) -> None:
        self._model, self._recurrence = model, derive(model.cell)
        self._readout = parameters[model.readout_weight], parameters["bias_out"]
        self._embedding = parameters.get("embedding")
        self._weights = [
            {
                name.removesuffix(f"_l{layer}"): values
                for name, values in parameters.items()
                if name.endswith(f"_l{layer}")
            }
            for layer in range(model.layers)
        ]

    def zeros(self, sequences: int) -> State:
        """Return the state from which sequences begin."""
        return tuple(np.zeros(shape) for shape in self._model.state_shapes(sequences))

    def run(self, inputs: NDArray[Any], state: State | None = None) -> Iterator[State]:
        """Yield the state after each time step."""
        now = self.zeros(inputs.shape[1]) if state is None else state
        for inputs_t in inputs:
            now, _ = self._step(inputs_t, now)
            yield now

    def outputs(self, state: State) -> Array:
        """Return the readout (B, K) of a state."""
        weight, bias = self._readout
        outputs: Array = state[0][-1] @ weight.T + bias
        return outputs

    def pull_back(self, inputs: NDArray[Any], state: State, cotangent: State) -> State:
        """Return J^T v of one time step, from the last layer down to the first."""
        _, tape = self._step(inputs, state)
        pulled: list[Layer] = []
        d_above: Array | float = 0.0  # through the output of the layer, into the layer above
        for layer in reversed(range(self._model.layers)):
            d_new = [part[layer] for part in cotangent]
            d_new[0] = d_new[0] + d_above
            d_old, d_zx = self._step_gradient(layer, *tape[layer], d_new)
            d_above = d_zx @ self._weights[layer]["weight_ih"]
            pulled.append(d_old)
        return _stacked(pulled[::-1])

    def _step(
        self, inputs: NDArray[Any], state: State
    ) -> tuple[State, list[tuple[Array, Layer, Layer]]]:
        """Return the new state, and per layer zx, its old states and its products."""
        new: list[Layer] = []
        tape: list[tuple[Array, Layer, Layer]] = []
        for layer, weights in enumerate(self._weights):
            zx = self._input_product(layer, new[-1][0] if layer else inputs) + weights["bias_ih"]
            before = tuple(part[layer] for part in state)
            after, products = self._layer_step(layer, zx, before)
            new.append(after)
            tape.append((zx, before, products))
        return _stacked(new), tape

    def _input_product(self, layer: int, values: NDArray[Any]) -> Array:
        """Return the product of weight_ih with what the layer reads."""
        weight = self._weights[layer]["weight_ih"]
        if layer == 0 and self._embedding is not None:
            values = self._embedding[values]
        elif layer == 0 and self._model.inputs.kind == "token":
            rows: Array = weight.T[values]
            return rows
        product: Array = values @ weight.T
        return product

    def _layer_step(self, layer: int, zx: Array, before: Layer) -> tuple[Layer, Layer]:
        weights, products = self._weights[layer], self._model.cell.products

        def product(index: int, operand: Array) -> Array:
            name = products[index].name
            value: Array = (np.zeros_like(before[0]) + operand) @ weights[f"weight_{name}"].T
            return value + weights[f"bias_{name}"] if products[index].bias else value

        after, taken_products = self._recurrence.step(OPS, zx, before, self._own(layer), product)
        whole = [np.zeros_like(old) + part for old, part in zip(before, after, strict=True)]
        return tuple(whole), taken_products

    def _step_gradient(
        self, layer: int, zx: Array, before: Layer, products: Layer, d_new: Sequence[Array]
    ) -> tuple[Layer, Array]:
        """Return d old states and d zx of one layer."""
        names = [f"weight_{product.name}" for product in self._model.cell.products]
        matrices = [self._weights[layer][name] for name in names]
        gradient = self._recurrence.gradient(
            OPS,
            zx,
            products,
            before,
            self._own(layer),
            d_new,
            lambda index, d_product: d_product @ matrices[index],
        )
        d_old = [np.zeros_like(d) + part for d, part in zip(d_new, gradient.state, strict=True)]
        operands = zip(self._recurrence.operands, gradient.products, matrices, strict=True)
        for operand, d_product, matrix in operands:
            if operand.op == "state":
                d_old[operand.value] += d_product @ matrix
        return tuple(d_old), gradient.zx

    def _own(self, layer: int) -> list[Array]:
        return [self._weights[layer][name] for name in self._model.cell.vectors]


def _stacked(layers: Sequence[Layer]) -> State:
    return tuple(np.stack(parts) for parts in zip(*layers, strict=True))
