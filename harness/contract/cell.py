"""A cell: one recurrence, written once as pointwise equations over a few array operations.

No framework is imported here: a cell touches arrays only through ``Ops`` and Python's arithmetic.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

Tensor = Any  # an array of the engine that runs the cell
CellState = tuple[Tensor, ...]  # one (B, H) per name in ``Cell.states``; the first is always h


class Ops(Protocol):
    """The array operations of a cell besides ``+ - * /``; elementwise, except the last two."""

    def sigmoid(self, x: Tensor) -> Tensor:
        """Return 1 / (1 + exp(-x))."""

    def tanh(self, x: Tensor) -> Tensor:
        """Return the hyperbolic tangent."""

    def relu(self, x: Tensor) -> Tensor:
        """Return max(x, 0)."""

    def exp(self, x: Tensor) -> Tensor:
        """Return e to the power x."""

    def positive(self, x: Tensor) -> Tensor:
        """Return 1 where x > 0, else 0, in the dtype of x: the derivative of ``relu``."""

    def split(self, x: Tensor, parts: int) -> Sequence[Tensor]:
        """Cut the last axis into ``parts`` equal pieces: (B, G*H) -> G pieces (B, H)."""

    def concatenate(self, pieces: Sequence[Tensor]) -> Tensor:
        """Join pieces along the last axis: the inverse of ``split``."""


class Cell(ABC):
    """One recurrence ``state_t = step(zx_t, zh_t, state_{t-1})``.

    The engine computes the two products outside the cell::

        zx = X @ weight_ih.T + bias_ih        for all time steps at once
        zh = h @ weight_hh.T + bias_hh        inside the time loop

    so ``step`` is pointwise, and an engine needs one time loop for all cells. Shapes: ``zx`` and
    ``zh`` (B, G*H), each state (B, H). ``states[0]`` is h, the cell's output.

    Attributes:
        gates: in the order of the rows of weight_ih and weight_hh; G = len(gates).
        recurrent: False: there is no product with h, so no weight_hh and no bias_hh, and ``zh`` is
            None.
        memory_gate: the gate that keeps the old state (for ``--forget-bias`` and ``--chrono``).
        memory_sign: -1 if the memory gate keeps the old state when it is near 0, not near 1.
        input_gate: the gate that admits new content, if it is a separate gate.
    """

    name: ClassVar[str]
    gates: ClassVar[tuple[str, ...]]
    states: ClassVar[tuple[str, ...]] = ("h",)
    recurrent: ClassVar[bool] = True
    memory_gate: ClassVar[str | None] = None
    memory_sign: ClassVar[int] = 1
    input_gate: ClassVar[str | None] = None

    @abstractmethod
    def step(self, ops: Ops, zx: Tensor, zh: Tensor, state: CellState) -> CellState:
        """Return the next state, a tuple of one (B, H) per state."""

    @abstractmethod
    def step_gradient(
        self,
        ops: Ops,
        zx: Tensor,
        zh: Tensor,
        state: CellState,
        new_state: CellState,
        d_new_state: CellState,
    ) -> tuple[Tensor, Tensor, CellState]:
        """Return ``(d_zx, d_zh, d_state)``: the hand-derived vector-Jacobian product of ``step``.

        Args:
            ops: the engine's array operations.
            zx: (B, G*H) input product of this step.
            zh: (B, G*H) recurrent product of this step; None for a cell that is not recurrent.
            state: the state before this step, each (B, H).
            new_state: what ``step`` returned, each (B, H).
            d_new_state: d loss / d new_state, each (B, H).

        Returns:
            ``d_zx`` and ``d_zh`` (B, G*H), and ``d_state``, each (B, H). The same array may be
            returned for both products; ``d_zh`` is None if ``zh`` is None. ``d_state`` is the
            *pointwise* part only: the engine adds ``d_zh @ weight_hh`` to ``d_state[0]``. An entry
            may be the number ``0.0`` if there is no pointwise path.
        """

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor | None:
        """Return the share (H,) of the state that one step keeps if gates see only their biases.

        Charts draw it next to the gradient flow that was measured before training. None (the
        default): there is no simple formula.

        Args:
            ops: array operations.
            biases: gate -> the sum of its biases (H,).
        """
        return None


class LinearCell(Cell):
    """A cell whose gates see only the input, so the new state is linear in the old state::

        a, b = coefficients(zx)             each (B, H)
        h' = a * h + b

    An associative scan over (a, b) can then compute all time steps in about log2 T rounds instead
    of T. ``step`` and ``step_gradient`` follow from the coefficients, so the equations are written
    once.
    """

    recurrent = False

    @abstractmethod
    def coefficients(self, ops: Ops, zx: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(a, b)``, each (..., H), for ``zx`` (..., G*H) of any leading shape."""

    @abstractmethod
    def coefficients_gradient(self, ops: Ops, zx: Tensor, d_a: Tensor, d_b: Tensor) -> Tensor:
        """Return d_zx (..., G*H): the hand-derived vector-Jacobian product of ``coefficients``."""

    def step(self, ops: Ops, zx: Tensor, zh: Tensor, state: CellState) -> CellState:
        """Return (a * h + b,)."""
        a, b = self.coefficients(ops, zx)
        return (a * state[0] + b,)

    def step_gradient(
        self,
        ops: Ops,
        zx: Tensor,
        zh: Tensor,
        state: CellState,
        new_state: CellState,
        d_new_state: CellState,
    ) -> tuple[Tensor, Tensor, CellState]:
        """Return the gradient, from d_a = d_h' * h and d_b = d_h'."""
        (h,), (d_h,) = state, d_new_state
        a, _ = self.coefficients(ops, zx)
        return self.coefficients_gradient(ops, zx, d_h * h, d_h), None, (d_h * a,)
