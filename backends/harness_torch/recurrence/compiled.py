"""Variant ``compiled``: a few time steps of any cell and their reverse by ``torch.compile``.

The whole loop cannot be compiled: the time to compile it grows with T, to minutes at T = 1000. A
program of ``STEPS`` time steps is as fast and is compiled once for all T; if T is not a multiple,
the first few steps get another program.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch._dynamo import lookup_backend
from torch._dynamo.exc import TorchDynamoException
from torch.nn.functional import linear

from harness.contract import Cell, UnsupportedError
from harness.recurrence import Recurrence, derive
from harness_torch.recurrence.buffers import Buffers
from harness_torch.recurrence.gradients import product_gradients, with_products
from harness_torch.recurrence.kernel import Derivatives, KernelLayer
from harness_torch.recurrence.layer import LayerWeights, States
from harness_torch.recurrence.ops import TorchOps
from harness_torch.recurrence.toolchain import keep_programs_private

STEPS = 16  # time steps per program
_compiled: list[str] = []  # one entry for each program that this process has compiled


def compilations() -> int:
    """Return how many programs this process has compiled."""
    return len(_compiled)


def compiled_layer(cell: Cell) -> KernelLayer:
    """Return a layer of this variant."""
    return KernelLayer(CompiledKernel(cell))


class CompiledOps(TorchOps):
    """Operations that the compiler's own C++ is fast at."""

    def tanh(self, x: Tensor) -> Tensor:
        """Return the hyperbolic tangent; on a CPU by ``sigmoid``, which is much cheaper there."""
        return torch.sigmoid(x * 2.0) * 2.0 - 1.0 if x.device.type == "cpu" else torch.tanh(x)


OPS = CompiledOps()


class CompiledKernel:
    """Both loops of a layer, program by program."""

    def __init__(self, cell: Cell) -> None:
        self._cell, self._recurrence, self.buffers = cell, derive(cell), Buffers()

    def fold(self, weights: LayerWeights) -> LayerWeights:
        """Return the weights as they are."""
        return weights

    def forward(self, others: Mapping[str, Tensor], state: States) -> tuple[Tensor, States]:
        """Run all time steps, and keep every chunk's states and products."""
        products = self._cell.products
        self._weights = tuple(others[f"weight_{product.name}"] for product in products)
        self._own = tuple(others[name] for name in self._cell.vectors)
        biases = tuple(others.get(f"bias_{product.name}") for product in products)
        self._chunks, learnt = [], (self._weights, biases, self._own)
        for zx in _chunks(self.buffers["zx"]):
            program = _program(_forward, self._recurrence, tuple(zx.shape))
            states, products = program(self._recurrence, zx, state, *learnt)
            self._chunks.append((zx, products, state, states))
            state = tuple(part[-1] for part in states)
        hidden = torch.cat([states[0] for _, _, _, states in self._chunks])
        return hidden, tuple(part.clone() for part in state)

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Run all time steps back; each weight's gradient is one product."""
        rows, d_state = [], d_final
        for kept, direct in zip(reversed(self._chunks), reversed(_chunks(d_hidden)), strict=True):
            program = _program(_backward, self._recurrence, tuple(direct.shape))
            *parts, d_state = program(
                self._recurrence, *kept, direct, d_state, self._weights, self._own
            )
            rows.append(parts)
        hidden, d_zx, d_products, d_vectors, operands = zip(*rows[::-1], strict=True)
        whole = [
            tuple(map(torch.cat, zip(*parts, strict=True))) for parts in (operands, d_products)
        ]
        others = product_gradients(self._cell, *whole)
        for name, *parts in zip(self._cell.vectors, *d_vectors, strict=True):
            others[name] = torch.stack(parts).sum(0)
        return Derivatives(torch.cat(d_zx), others, torch.cat(hidden), d_state)


def _chunks(tensor: Tensor) -> Sequence[Tensor]:
    """Return the first T mod STEPS time steps, if any, then chunks of STEPS."""
    rest = len(tensor) % STEPS
    return torch.split(tensor, ([rest] if rest else []) + [STEPS] * (len(tensor) // STEPS))


def _forward(
    recurrence: Recurrence,
    zx: Tensor,
    state: States,
    weights: States,
    biases: tuple[Tensor | None, ...],
    own: States,
) -> tuple[States, States]:
    """Return each state after every step and each product, (steps, B, ...)."""
    states, by_step = [], []
    for zx_t in zx.unbind(0):
        state, products = recurrence.step(
            OPS, zx_t, state, own, lambda index, x: linear(x, weights[index], biases[index])
        )
        states.append(state)
        by_step.append(products)
    return _stacked(states), _stacked(by_step)


def _backward(
    recurrence: Recurrence,
    zx: Tensor,
    products: States,
    state: States,
    states: States,
    direct: Tensor,
    d_state: States,
    weights: States,
    own: States,
) -> tuple[Tensor, Tensor, States, States, States, States]:
    """Return the total d_h, d_zx, d_products, d_vectors, the operands, and d ``state``."""
    totals, d_zx, d_products, d_vectors, operands = [], [], [], [], []
    for t in reversed(range(len(zx))):
        before = tuple(part[t - 1] for part in states) if t else state
        d_state = (d_state[0] + direct[t], *d_state[1:])
        values = (zx[t], tuple(part[t] for part in products), before, own)
        gradient = recurrence.gradient(
            OPS, *values, d_state, lambda index, d_product: d_product @ weights[index]
        )
        totals.append(d_state[0])
        d_zx.append(gradient.zx)
        d_products.append(gradient.products)
        d_vectors.append(tuple(0.0 * direct[t] + part for part in gradient.vectors))
        operands.append(recurrence.operand_values(OPS, *values))
        d_state = with_products(recurrence, gradient.state, gradient.products, weights, d_state)
    return (
        torch.stack(totals[::-1]),
        torch.stack(d_zx[::-1]),
        _stacked(d_products[::-1]),
        tuple(part.sum((0, 1)) for part in _stacked(d_vectors)),
        _stacked(operands[::-1]),
        d_state,
    )


def _joined(chunks: Sequence[States]) -> States:
    return tuple(torch.cat(parts) for parts in zip(*chunks, strict=True))


def _stacked(rows: Sequence[States]) -> States:
    return tuple(torch.stack(parts) for parts in zip(*rows, strict=True))


@cache
def _program(
    function: Callable[..., Any],
    recurrence: Recurrence,
    shape: tuple[int, ...],  # noqa: ARG001
) -> Callable[..., Any]:
    """Return ``function`` for this recurrence and shape, compiled when it is first called.

    The function's code object is copied, because the compiler limits the number of programs per
    code object.
    """
    keep_programs_private()
    own = FunctionType(function.__code__.replace(), function.__globals__, function.__name__)
    program = torch.compile(own, backend=_counted, fullgraph=True, dynamic=False)

    def run(*arguments: Any) -> Any:
        try:
            return program(*arguments)
        except TorchDynamoException as error:
            inner = getattr(error, "inner_exception", error)
            reason = str(inner).strip().partition("\n")[0] or type(inner).__name__
            raise UnsupportedError(
                f"torch.compile cannot compile {recurrence.cell.name}: {reason}; choose torch:fused"
            ) from error

    return run


def _counted(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
    """Compile with Inductor, and count it."""
    _compiled.append(type(graph).__name__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the compiler's own imports give some
        compiled: Callable[..., Any] = lookup_backend("inductor")(graph, inputs)
    return compiled
