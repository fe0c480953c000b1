"""Variant ``compiled``: a few time steps of any cell and their reverse by ``torch.compile``.

The whole loop cannot be compiled: the time to compile it grows with T, to minutes at T = 1000. A
program of ``STEPS`` time steps is as fast and is compiled once for all T; if T is not a multiple,
the first few steps get another program.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch._dynamo import lookup_backend
from torch._dynamo.exc import TorchDynamoException

from harness.contract import Cell, UnsupportedError
from harness.recurrence.classic import classic
from harness_torch.recurrence.buffers import Buffers
from harness_torch.recurrence.kernel import Derivatives, KernelLayer
from harness_torch.recurrence.layer import LayerWeights, States
from harness_torch.recurrence.loop import recurrent_product
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
        self._cell, self.buffers = cell, Buffers()

    def fold(self, weights: LayerWeights) -> LayerWeights:
        """Return the weights as they are."""
        return weights

    def forward(
        self, weight_hh: Tensor | None, bias_hh: Tensor | None, state: States
    ) -> tuple[Tensor, States]:
        """Run all time steps, and keep every chunk's states and recurrent products."""
        self._weight, self._chunks = weight_hh, []
        for zx in _chunks(self.buffers["zx"]):
            states, zh = _program(_forward, self._cell, tuple(zx.shape))(
                self._cell, zx, weight_hh, bias_hh, state
            )
            self._chunks.append((zx, zh, state, states))
            state = tuple(part[-1] for part in states)
        hidden = torch.cat([states[0] for _, _, _, states in self._chunks])
        return hidden, tuple(part.clone() for part in state)

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Run all time steps back; the weight's gradient is one product."""
        totals, d_zxs, d_zhs, d_state = [], [], [], d_final
        for kept, direct in zip(reversed(self._chunks), reversed(_chunks(d_hidden)), strict=True):
            program = _program(_backward, self._cell, tuple(direct.shape))
            total, d_zx, d_zh, d_state = program(self._cell, *kept, direct, d_state, self._weight)
            totals.append(total)
            d_zxs.append(d_zx)
            d_zhs.append(d_zh)
        hidden, d_inputs = torch.cat(totals[::-1]), torch.cat(d_zxs[::-1])
        if self._weight is None:
            return Derivatives(d_inputs, None, None, hidden, d_state)
        h_before = torch.cat(
            [self._chunks[0][2][0].unsqueeze(0), *(states[0] for *_, states in self._chunks)]
        )[:-1]
        rows = torch.cat(d_zhs[::-1]).flatten(0, 1)
        return Derivatives(
            d_inputs, rows.t() @ h_before.flatten(0, 1), rows.sum(0), hidden, d_state
        )


def _chunks(tensor: Tensor) -> Sequence[Tensor]:
    """Return the first T mod STEPS time steps, if any, then chunks of STEPS."""
    rest = len(tensor) % STEPS
    return torch.split(tensor, ([rest] if rest else []) + [STEPS] * (len(tensor) // STEPS))


def _forward(
    cell: Cell, zx: Tensor, weight_hh: Tensor | None, bias_hh: Tensor | None, state: States
) -> tuple[States, Tensor | None]:
    """Return each state after every step and the recurrent products, (steps, B, ...)."""
    states: list[States] = []
    products: list[Any] = []  # tensors, or None for a cell that is not recurrent
    for zx_t in zx.unbind(0):
        zh = recurrent_product(state[0], weight_hh, bias_hh)
        state = classic(cell).step(OPS, zx_t, zh, state)
        states.append(state)
        products.append(zh)
    stacked = tuple(torch.stack(parts) for parts in zip(*states, strict=True))
    return stacked, None if weight_hh is None else torch.stack(products)


def _backward(
    cell: Cell,
    zx: Tensor,
    zh: Tensor | None,
    state: States,
    states: States,
    direct: Tensor,
    d_state: States,
    weight_hh: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor | None, States]:
    """Return the total d_h, d_zx and d_zh of all steps, and the derivative of ``state``."""
    totals, d_zxs, d_zhs = [], [], []
    for t in reversed(range(len(zx))):
        before = tuple(part[t - 1] for part in states) if t else state
        after = tuple(part[t] for part in states)
        d_h = d_state[0] + direct[t]
        product = None if zh is None else zh[t]
        d_zx, d_zh, parts = classic(cell).step_gradient(
            OPS, zx[t], product, before, after, (d_h, *d_state[1:])
        )
        totals.append(d_h)
        d_zxs.append(d_zx)
        d_zhs.append(d_zh)
        d_state = tuple(
            part if isinstance(part, Tensor) else torch.zeros_like(d_h) for part in parts
        )
        if weight_hh is not None:
            d_state = (d_state[0] + d_zh @ weight_hh, *d_state[1:])
    total, d_zx = torch.stack(totals[::-1]), torch.stack(d_zxs[::-1])
    return total, d_zx, None if weight_hh is None else torch.stack(d_zhs[::-1]), d_state


@cache
def _program(
    function: Callable[..., Any],
    cell: Cell,
    shape: tuple[int, ...],  # noqa: ARG001
) -> Callable[..., Any]:
    """Return ``function`` for this cell and shape, compiled when it is first called.

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
                f"torch.compile cannot compile {cell.name}: {reason}; choose torch:fused"
            ) from error

    return run


def _counted(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
    """Compile with Inductor, and count it."""
    _compiled.append(type(graph).__name__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the compiler's own imports give some
        compiled: Callable[..., Any] = lookup_backend("inductor")(graph, inputs)
    return compiled
