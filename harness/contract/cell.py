"""What a cell is: one recurrence, written once as pointwise equations over a handful of array operations.

No framework import here: a cell sees arrays only through ``Ops`` and Python's arithmetic operators.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

Tensor = Any  # an array of whichever engine runs the cell
CellState = tuple[
    Tensor, ...
]  # one array (B, H) per name in ``Cell.states``; the first is always h


class Ops(Protocol):
    """The array operations that a cell may use besides ``+ - * /``; all elementwise but the last two."""

    def sigmoid(self, x: Tensor) -> Tensor:
        """Return 1 / (1 + exp(-x))."""

    def tanh(self, x: Tensor) -> Tensor:
        """Return the hyperbolic tangent."""

    def relu(self, x: Tensor) -> Tensor:
        """Return max(x, 0)."""

    def exp(self, x: Tensor) -> Tensor:
        """Return e to the power x."""

    def positive(self, x: Tensor) -> Tensor:
        """Return 1 where x > 0 and 0 elsewhere, in the dtype of x: the derivative of ``relu``."""

    def split(self, x: Tensor, parts: int) -> Sequence[Tensor]:
        """Cut the last axis into ``parts`` equal pieces: (B, G*H) -> G pieces (B, H)."""

    def concatenate(self, pieces: Sequence[Tensor]) -> Tensor:
        """Join pieces along the last axis: the inverse of ``split``."""


class Cell(ABC):
    """One recurrence ``state_t = step(zx_t, zh_t, state_{t-1})``.

    The engine takes the two products outside the cell::

        zx = X @ weight_ih.T + bias_ih        for all time steps at once
        zh = h @ weight_hh.T + bias_hh        inside the time loop

    so ``step`` is pointwise and every engine's one time loop runs every cell. Shapes: ``zx`` and
    ``zh`` (B, G*H), each state (B, H). ``states[0]`` is h, the cell's output.
    """

    name: ClassVar[str]
    gates: ClassVar[
        tuple[str, ...]
    ]  # in the order of the rows of weight_ih and weight_hh; G = len(gates)
    states: ClassVar[tuple[str, ...]] = ("h",)
    recurrent: ClassVar[bool] = (
        True  # False: no product with h, so no weight_hh and bias_hh, and ``zh`` is None
    )
    memory_gate: ClassVar[str | None] = (
        None  # the gate that keeps the old state (forget bias, chrono)
    )
    memory_sign: ClassVar[int] = 1  # -1: it keeps the old state when it is near 0, not near 1
    input_gate: ClassVar[str | None] = (
        None  # the gate that admits new content, where it is a separate one
    )

    @abstractmethod
    def step(self, ops: Ops, zx: Tensor, zh: Tensor, state: CellState) -> CellState:
        """Return the next state."""

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
        """Return ``(d_zx, d_zh, d_state)``: the vector-Jacobian product of ``step``, derived by hand.

        Args:
            ops: the engine's array operations.
            zx: (B, G*H) input product of this step.
            zh: (B, G*H) recurrent product of this step; None for a cell that is not recurrent.
            state: the state before this step, each (B, H).
            new_state: what ``step`` returned, each (B, H).
            d_new_state: d loss / d new_state, each (B, H).

        Returns:
            ``d_zx`` and ``d_zh`` (B, G*H) (the same array may be returned twice; ``d_zh`` is None
            where ``zh`` is), and ``d_state``, each (B, H), the *pointwise* part only: the engine
            adds ``d_zh @ weight_hh`` to ``d_state[0]``. An entry may be the number ``0.0`` where no
            pointwise path exists.
        """

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor | None:
        """Return the share of the state that one step keeps, if the gates saw their biases alone; None: no simple law.

        Charts draw it beside the gradient flow that was measured at the start.

        Args:
            ops: array operations.
            biases: by gate, the sum of its biases.
        """
        return None


class LinearCell(Cell):
    """A cell whose gates see the input alone, so that its state is linear in the state before::

        a, b = coefficients(zx)             each (B, H)
        h' = a * h + b

    All time steps can then be taken at once by an associative scan over (a, b), in about log2 T
    rounds instead of T. ``step`` and ``step_gradient`` follow from the coefficients: there is one
    statement of the equations.
    """

    recurrent = False

    @abstractmethod
    def coefficients(self, ops: Ops, zx: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``(a, b)``, each (..., H), of ``zx`` (..., G*H), for any leading shape."""

    @abstractmethod
    def coefficients_gradient(self, ops: Ops, zx: Tensor, d_a: Tensor, d_b: Tensor) -> Tensor:
        """Return d_zx (..., G*H): the vector-Jacobian product of ``coefficients``, derived by hand."""

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
        """Return the gradient by way of d_a = d_h' * h and d_b = d_h'."""
        (h,), (d_h,) = state, d_new_state
        a, _ = self.coefficients(ops, zx)
        return self.coefficients_gradient(ops, zx, d_h * h, d_h), None, (d_h * a,)
