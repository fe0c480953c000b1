"""Variant ``native``: recurrences, products, tokens, loss and Adam in the C kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Cell, Model, Optimizer
from harness_native.library import Adam, Layer, Product, cell_library, layer, library
from harness_numpy.recurrence.device import DeviceBatch
from harness_numpy.recurrence.flat import Flat
from harness_numpy.recurrence.hoisted import HoistedNetwork
from harness_numpy.recurrence.layer import Recurrence, Shape, Weights
from harness_numpy.recurrence.masks import Masks
from harness_numpy.recurrence.workspace import Workspace
from harness_numpy.update import Update


class NativeRecurrence(Recurrence):
    """One layer in the kernel, with the addresses of the buffers of one shape.

    After ``forward`` ``zx`` holds what is kept for the reverse, so far as there is a place.

    Attributes:
        d_vectors: per vector, d loss / d vector, (H,), after ``backward``.
        d_initial: per state, what ``backward`` returns.
        kept: (T, B, H), what is kept elsewhere.
    """

    def __init__(self, cell: Cell, shape: Shape) -> None:
        super().__init__(cell, shape)
        self._library = cell_library(cell)
        plan, self._layer = self._library.plan, _layer_of(shape)
        sizes, h = (shape.steps, shape.batch, shape.hidden), shape.hidden
        self.d_vectors = [self._array(h) for _ in cell.vectors]
        self.d_initial = [self._array(shape.batch, h) for _ in self.states]
        self.kept = [self._array(*sizes) for _ in range(plan.extra)]
        self._shared = plan.shared
        for index, (first, pieces) in enumerate(zip(plan.shared, plan.pieces, strict=True)):
            if first is None:
                self._layer.d_product[index] = address(self.d_products[index])
            elif self.d_products[index] is not self.zx:
                self.d_products[index] = self.zx[..., first * h : (first + len(pieces)) * h]
            if plan.inner[index]:
                self._layer.operand[index] = address(self.operands[index])
        self._layer.gates = self._layer.d_zx = address(self.zx)
        _point(self._layer.initial, self.states)
        _point(self._layer.states, [states[1:] for states in self.states])
        _point(self._layer.d_initial, self.d_initial)
        _point(self._layer.d_vector, self.d_vectors)
        _point(self._layer.kept, self.kept)

    def forward(self, weights: Weights) -> None:
        """Fill ``states``."""
        self._run(self.zx, None, weights)

    def forward_tokens(self, table: Array, tokens: NDArray[np.intp], weights: Weights) -> None:
        """Fill ``states``; zx of each token (T*B,) is a row of ``table`` (V, G*H)."""
        self._run(table, address(tokens), weights)

    def _run(self, zx: Array, tokens: int | None, weights: Weights) -> None:
        self._layer.zx, self._layer.tokens = address(zx), tokens
        self._point_to_weights(weights)
        self._library.forward(self._layer)

    def _point_to_weights(self, weights: Weights) -> None:
        names = [product.name for product in self.cell.products]
        _point(self._layer.weight, [weights[f"weight_{name}"] for name in names])
        _point(self._layer.bias, [weights.get(f"bias_{name}") for name in names])
        _point(self._layer.vector, [weights[name] for name in self.cell.vectors])

    def backward(
        self, weights: Weights, d_hidden: Array, d_final: Sequence[Array] | None
    ) -> Sequence[Array]:
        """Go back through time."""
        self._point_to_weights(weights)
        self._layer.d_direct = self._layer.d_total = address(d_hidden)
        final: list[Array | None] = [None] * len(self.states)
        if d_final is not None:
            final = [np.ascontiguousarray(part) for part in d_final]
        _point(self._layer.d_final, final)
        _point(self._layer.d_weight, [None] * len(self.cell.products))
        _point(self._layer.d_bias, [None] * len(self.cell.products))
        self._library.reverse(self._layer)
        return self.d_initial

    def weight_gradients(self, out: Weights) -> None:
        """Fill the gradients of the products and vectors of ``out`` after ``backward``.

        Those of weight_ih and bias_ih are there already.
        """
        for index, product in enumerate(self.cell.products):
            self._layer.d_weight[index] = address(out[f"weight_{product.name}"])
            first, h = self._shared[index], self.shape.hidden
            if not product.bias:
                continue
            bias = out[f"bias_{product.name}"]
            if first is None:
                self._layer.d_bias[index] = address(bias)
            else:
                bias[...] = out["bias_ih"][first * h : first * h + len(bias)]
        self._library.weight_gradients(self._layer)
        for name, d_vector in zip(self.cell.vectors, self.d_vectors, strict=True):
            out[name][...] = d_vector


def _layer_of(shape: Shape) -> Layer:
    sizes = (shape.steps, shape.batch, shape.hidden)
    return layer(sizes, double=shape.dtype == "float64", threads=shape.threads)


def _point(field: Any, arrays: Sequence[Array | None]) -> None:
    """Write the addresses of arrays into a field of the layer."""
    for index, array in enumerate(arrays):
        field[index] = address(array)


class NativeNetwork(HoistedNetwork):
    """Every product runs in the kernel, which has its own threads; NumPy does the rest."""

    keeps_states = False

    def __init__(
        self, model: Model, parameters: Flat, gradients: Flat, masks: Masks, threads: int = 1
    ) -> None:
        super().__init__(model, parameters, gradients, masks, threads, recurrence=NativeRecurrence)
        self._kernel, self._double = library(), int(gradients.dtype == "float64")

    def _run_layer(self, recurrence: Recurrence, layer: int, inputs: NDArray[Any]) -> None:
        weights = self._weights[layer]
        weight, bias = weights["weight_ih"], weights["bias_ih"]
        if inputs.ndim == 1 and isinstance(recurrence, NativeRecurrence):
            table = np.empty(weight.shape[::-1], weight.dtype)
            self._kernel.transpose(
                self._double, address(weight), *weight.shape, address(bias), address(table)
            )
            recurrence.forward_tokens(table, inputs, weights)
            return
        self._multiply(
            recurrence.zx.reshape(len(inputs), -1), inputs, weight, transposed="b", bias=bias
        )
        recurrence.forward(weights)

    def outputs(self, work: Workspace, rows: NDArray[np.intp] | None = None) -> Array:
        """Return new outputs (n, K), of ``rows`` or of all."""
        hidden = work.hidden(-1) if rows is None else work.hidden(-1)[rows]
        return self._outputs(hidden, np.empty((len(hidden), self.model.outputs), hidden.dtype))

    def _outputs(self, hidden: Array, outputs: Array) -> Array:
        self._multiply(outputs, hidden, self._readout, transposed="b", bias=self._p["bias_out"])
        return outputs

    def _input_gradient(self, work: Workspace, layer: int, out: Array) -> None:
        self._multiply(out, work.zx(layer), self._p[f"weight_ih_l{layer}"])

    def _readout_backward(self, batch: DeviceBatch, work: Workspace) -> np.floating[Any]:
        hidden, d_hidden = work.hidden(-1), work.d_rows(-1)
        if batch.rows is None:
            d_outputs = self._outputs(hidden, work.outputs(self.model.outputs))
        else:
            d_outputs = self.outputs(work, batch.rows)
        loss = self._loss_and_gradient(batch, d_outputs)
        scored = hidden if batch.rows is None else hidden[batch.rows]
        self._multiply(self._d_readout, d_outputs, scored, transposed="a")
        bias = address(self._d["bias_out"])
        self._kernel.column_sums(self._double, address(d_outputs), *d_outputs.shape, bias)
        if batch.rows is None:
            self._multiply(d_hidden, d_outputs, self._readout)
        else:
            d_scored = np.empty((len(d_outputs), self.model.hidden), d_outputs.dtype)
            self._multiply(d_scored, d_outputs, self._readout)
            d_hidden.fill(0)
            d_hidden[batch.rows] = d_scored
        return loss

    def _loss_and_gradient(self, batch: DeviceBatch, outputs: Array) -> np.floating[Any]:
        """Return these steps' share of the mean loss; ``outputs`` (n, K) become its gradient."""
        if self.model.loss != "cross_entropy":
            return super()._loss_and_gradient(batch, outputs)
        arguments = (address(outputs), address(batch.targets), *outputs.shape)
        total = self._kernel.cross_entropy(self._double, *arguments, batch.scored)
        share: np.floating[Any] = outputs.dtype.type(total / batch.scored)
        return share

    def _weight_gradients(self, work: Workspace, layer: int) -> None:
        out, d_zx = self._weight_d[layer], work.zx(layer)
        weight_ih, bias_ih = out["weight_ih"], out["bias_ih"]
        inputs = work.inputs_of(layer)
        if inputs.ndim == 1:
            arguments = (address(d_zx), address(inputs), *d_zx.shape, self.model.inputs.size)
            self._kernel.sum_by_token(
                self._double, *arguments, address(weight_ih), address(bias_ih)
            )
        else:
            self._multiply(weight_ih, d_zx, inputs, transposed="a")
            self._kernel.column_sums(self._double, address(d_zx), *d_zx.shape, address(bias_ih))
        work.layers[layer].weight_gradients(out)

    def _multiply(
        self,
        out: Array,
        a: Array,
        b: Array,
        *,
        transposed: Literal["a", "b"] | None = None,
        bias: Array | None = None,
    ) -> None:
        """Write a @ b, one of them transposed first, plus bias into ``out`` (m, n)."""
        product = Product(
            self._double, self.threads, *out.shape, a.shape[0 if transposed == "a" else 1]
        )
        product.transpose_a, product.transpose_b = transposed == "a", transposed == "b"
        product.a, product.b = address(a), address(b)
        product.bias, product.c = address(bias), address(out)
        self._kernel.multiply(product)


def native_update(optimizer: Optimizer, parameters: Array) -> Update:
    """Return the kernel's Adam, or NumPy's other rules."""
    plain = optimizer.name == "adam" and not optimizer.options()
    kind = NativeAdam if plain else Update
    return kind(optimizer, parameters)


class NativeAdam(Update):
    """Adam in one pass over the parameters."""

    def __init__(self, optimizer: Optimizer, parameters: Array) -> None:
        super().__init__(optimizer, parameters)
        self._kernel = library()
        double = int(parameters.dtype == np.float64)
        rule = (optimizer.beta1, optimizer.beta2, 0.0, 0.0, optimizer.epsilon)
        self._native = Adam(double, parameters.size, *rule)

    def apply(self, parameters: Array, gradient: Array) -> None:
        """Do one update of (n,) in place."""
        rate = self._optimizer.learning_rate_at(self.steps)
        self.steps += 1
        self._native.rate = rate / (1 - self._optimizer.beta1**self.steps)
        self._native.correction = 1 / (1 - self._optimizer.beta2**self.steps)
        vectors = (parameters, gradient, self._first, self._second)
        self._kernel.adam(self._native, *(address(vector) for vector in vectors))


# By the identity of a living array: asking NumPy for an address takes longer than a small product.
_addresses: dict[int, tuple[ref[NDArray[Any]], int]] = {}


def address(array: NDArray[Any] | None) -> int | None:
    """Return the address of an array.

    Raises:
        ValueError: it is not C-contiguous, so the kernel would read the wrong elements.
    """
    if array is None:
        return None
    key = id(array)
    cached = _addresses.get(key)
    if cached is not None and cached[0]() is array:
        return cached[1]
    if not array.flags.c_contiguous:
        raise ValueError(
            f"the kernel takes C-contiguous arrays, not strides {array.strides} "
            f"of shape {array.shape}"
        )
    location = int(array.__array_interface__["data"][0])
    _addresses[key] = ref(array, lambda _: _addresses.pop(key, None)), location
    return location
