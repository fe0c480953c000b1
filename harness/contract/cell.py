"""A cell: one recurrence, stated once as one time step over a few array operations.

No framework is imported here: a cell touches arrays only through ``Ops`` and Python's arithmetic.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.contract.matrix import Matrix

Tensor = Any  # an array of the engine that runs the cell
# One (B, H) per name in ``Cell.states``; the first is always h. A step may also say ``state.h``.
# Those of ``Cell.matrix_states`` are a ``Matrix`` (B, H, H).
CellState = tuple[Tensor, ...]


class Ops(ABC):
    """The array operations of a step besides ``+ - * /``.

    All are elementwise but the last seven. An engine inherits; it may override what is written here
    by what its framework does better.
    """

    @abstractmethod
    def sigmoid(self, x: Tensor) -> Tensor:
        """Return 1 / (1 + exp(-x))."""

    @abstractmethod
    def tanh(self, x: Tensor) -> Tensor:
        """Return the hyperbolic tangent."""

    @abstractmethod
    def relu(self, x: Tensor) -> Tensor:
        """Return max(x, 0)."""

    @abstractmethod
    def exp(self, x: Tensor) -> Tensor:
        """Return e to the power x."""

    @abstractmethod
    def positive(self, x: Tensor) -> Tensor:
        """Return 1 where x > 0, else 0, in the dtype of x: the derivative of ``relu``."""

    def log(self, x: Tensor) -> Tensor:
        """Return the natural logarithm.

        Raises:
            NotImplementedError: the engine lacks it.
        """
        raise NotImplementedError(_lacks(self, "log"))

    def sqrt(self, x: Tensor) -> Tensor:
        """Return the square root.

        Raises:
            NotImplementedError: the engine lacks it.
        """
        raise NotImplementedError(_lacks(self, "sqrt"))

    def softplus(self, x: Tensor) -> Tensor:
        """Return log(1 + exp(x)), without overflow."""
        return self.relu(x) + self.log(1.0 + self.exp(-self.absolute(x)))

    def absolute(self, x: Tensor) -> Tensor:
        """Return the absolute value."""
        return self.relu(x) + self.relu(-x)

    def maximum(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the larger of two."""
        return b + self.relu(a - b)

    @abstractmethod
    def split(self, x: Tensor, parts: int) -> Sequence[Tensor]:
        """Cut the last axis into ``parts`` equal pieces: (B, G*H) -> G pieces (B, H)."""

    @abstractmethod
    def concatenate(self, pieces: Sequence[Tensor]) -> Tensor:
        """Join pieces along the last axis: the inverse of ``split``."""

    def mean(self, x: Tensor) -> Tensor:
        """Return the mean over the last axis, (B, 1).

        Raises:
            NotImplementedError: the engine lacks it.
        """
        raise NotImplementedError(_lacks(self, "mean"))

    def normalise(self, x: Tensor, epsilon: float = 1e-5) -> Tensor:
        """Return (x - mean) / sqrt(variance + epsilon) over the last axis (Ba et al. 2016)."""
        centred = x - self.mean(x)
        return centred / self.sqrt(self.mean(centred * centred) + epsilon)

    def outer(self, a: Tensor, b: Tensor) -> Matrix:
        """Return the matrix with a_i * b_j in row i: (B, H), (B, H) -> (B, H, H).

        In ``+ - * /`` matrices meet element by element. A value (B, H), (B, 1) or (H,) times a
        matrix scales its rows, as does a matrix divided by one.
        """
        return Matrix(a[..., None] * b[..., None, :])

    def contract(self, x: Tensor | Matrix, q: Tensor) -> Tensor:
        """Return the sum over the last axis of x times q (B, H).

        A matrix x (B, H, H) gives (B, H), its product with q; x (B, H) gives (B, 1).
        """
        if isinstance(x, Matrix):
            return (x.array @ q[..., None])[..., 0]
        return (x * q).sum(-1)[..., None]

    def product(self, name: str, operand: Tensor) -> Tensor:
        """Return operand (B, H) @ weight_NAME.T + bias_NAME, (B, n*H): one of ``Cell.products``.

        Raises:
            NotImplementedError: these operations stand outside a step.
        """
        raise NotImplementedError(_lacks(self, "product"))


def _lacks(ops: Ops, name: str) -> str:
    return f"{type(ops).__name__} has no {name}"


@dataclass(frozen=True)
class Product:
    """A learnt product inside the step: ``weight_NAME`` (n*H, H) and ``bias_NAME`` (n*H,).

    Attributes:
        name: its name in ``ops.product`` and in the parameters.
        gates: what its n pieces belong to; None: all gates of the cell.
        bias: False: it has no bias of its own.
    """

    name: str = "hh"
    gates: tuple[str, ...] | None = None
    bias: bool = True


class Cell(ABC):
    """One recurrence ``state_t = step(zx_t, state_{t-1})``.

    The engine computes the input product ``zx = X @ weight_ih.T + bias_ih`` for all time steps at
    once. Inside the step, ``ops.product("hh", state.h)`` is the recurrent product. Shapes: ``zx``
    (B, G*H), each state (B, H) or a matrix (B, H, H), each vector (H,). ``states[0]`` is h, the
    cell's output.

    ``step`` is called once with symbols; everything else follows from the expressions it makes: its
    gradient, its kernels, and the scan of a cell that is linear in its state. So it may not branch
    on values.

    Attributes:
        gates: in the order of the rows of weight_ih; G = len(gates).
        states: what a time step hands to the next; h first.
        matrix_states: those of ``states`` that are matrices (B, H, H); not h.
        products: the learnt products that ``step`` takes, each once.
        vectors: the names of further parameters (H,) of each layer, such as peepholes; ``step`` has
            them as ``own.NAME``.
        memory_gate: the gate that keeps the old state (for ``--forget-bias`` and ``--chrono``).
        memory_sign: -1 if the memory gate keeps the old state when it is near 0, not near 1.
        input_gate: the gate that admits new content, if it is a separate gate.
        recurrent: whether there is a product; follows from ``products``.
    """

    name: ClassVar[str]
    gates: ClassVar[tuple[str, ...]]
    states: ClassVar[tuple[str, ...]] = ("h",)
    matrix_states: ClassVar[tuple[str, ...]] = ()
    products: ClassVar[tuple[Product, ...]] = (Product(),)
    vectors: ClassVar[tuple[str, ...]] = ()
    memory_gate: ClassVar[str | None] = None
    memory_sign: ClassVar[int] = 1
    input_gate: ClassVar[str | None] = None
    recurrent: ClassVar[bool] = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        stated = vars(cls)
        if stated.get("recurrent") is False and "products" not in stated:
            cls.products = ()  # as cells said it before there were named products
        cls.recurrent = bool(cls.products)

    @abstractmethod
    def step(self, ops: Any, zx: Tensor, state: Any, own: Any) -> CellState:
        """Return the new states, a tuple of one (B, H) or matrix per name in ``states``.

        Args:
            ops: ``Ops``.
            zx: (B, G*H); ``ops.split(zx, G)`` gives the gates.
            state: the old states by name, as ``state.h``; each (B, H), or a matrix.
            own: the vectors by name, as ``own.peephole_i``; each (H,).
        """

    def state_shapes(self, hidden: int) -> tuple[tuple[int, ...], ...]:
        """Return the shape of each state of one sequence: (H,), or (H, H) for a matrix."""
        return tuple(
            (hidden, hidden) if name in self.matrix_states else (hidden,) for name in self.states
        )

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor | None:
        """Return the share (H,) of the state that one step keeps if gates see only their biases.

        Charts draw it next to the gradient flow that was measured before training. None (the
        default): there is no simple formula.

        Args:
            ops: array operations.
            biases: gate -> the sum of its biases (H,).
        """
        return None

    def initial_vectors(
        self, hidden: int, rng: np.random.Generator
    ) -> Mapping[str, NDArray[np.floating]]:
        """Return initial values (H,) of vectors for which U(-1/sqrt(H), 1/sqrt(H)) will not do."""
        return {}


def uses_old_step(cell: Cell) -> bool:
    """Say whether the cell was written for ``step(ops, zx, zh, state)``, zh = h @ weight_hh."""
    names = [name.strip("_") for name in inspect.signature(cell.step).parameters]
    return names[2:3] == ["zh"]
