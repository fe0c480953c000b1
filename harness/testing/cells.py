"""Checks of a cell: its declaration, its use of ``Ops``, and its hand-derived gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from harness.contract import Backend, Cell
from harness.contract.cell import CellState
from harness.contract.model import Array
from harness.contract.names import check_name
from harness.testing.bench import Bench
from harness.testing.compare import Check, agree, is_array
from harness.testing.equations import NumpyOps
from harness.testing.gradients import (
    hidden_gradients_equal_finite_differences,
    parameter_gradients_equal_finite_differences,
)

B, H = 3, 4
STEP = 1e-6
TOLERANCE = 1e-7  # central differences of functions near 1: rounding about 1e-10


def checks_for_cell(cell: Cell, reference: Backend | None = None) -> Iterator[Check]:
    """Yield every check of a cell; with a reference backend, also the gradients of whole networks made of it."""
    for function in CHECKS:
        yield Check(function.__name__, partial(function, cell), cell=cell.name)
    if reference is not None:
        bench = Bench(reference, reference, cell, reference.variants(cell)[0])
        for network in (parameter_gradients_equal_finite_differences, hidden_gradients_equal_finite_differences):
            yield Check(network.__name__, partial(network, bench), bench.variant, cell.name)


def it_declares_itself_sanely(cell: Cell) -> None:
    """Names are allowed and distinct; h comes first; the named gates exist."""
    check_name("cell", cell.name)
    for kind, names in (("gates", cell.gates), ("states", cell.states)):
        assert isinstance(names, tuple), f"{kind}: expected a tuple of names, got {names!r}"
        assert names, f"{kind}: expected at least one"
        assert len(set(names)) == len(names), f"{kind}: named twice in {names}"
    assert cell.states[0] == "h", f"states: the first must be 'h', the output, got {cell.states}"
    for role in ("memory_gate", "input_gate"):
        gate = getattr(cell, role)
        assert gate is None or gate in cell.gates, f"{role}: {gate!r} is not one of the gates {cell.gates}"


def step_keeps_shapes_and_dtypes(cell: Cell) -> None:
    """``step`` and ``step_gradient`` return arrays in the dtype of their arguments, and change none."""
    for dtype in ("float64", "float32"):
        zx, zh, state, d_new = _arguments(cell, dtype)
        kept = [array.copy() for array in (zx, zh, *state, *d_new)]
        new = cell.step(NumpyOps(), zx, zh, state)
        _has_one_array_per_state(cell, "step", new)
        for name, array in zip(cell.states, new, strict=True):
            is_array(f"new state {name}", array, (B, H), dtype)
        d_zx, d_zh, d_state = cell.step_gradient(NumpyOps(), zx, zh, state, new, d_new)
        _has_one_array_per_state(cell, "d_state of step_gradient", d_state)
        for name, array in {"d_zx": d_zx, "d_zh": d_zh}.items():
            is_array(name, array, zx.shape, dtype)
        for name, array in zip(cell.states, d_state, strict=True):
            if not isinstance(array, float):
                is_array(f"d_state {name}", array, (B, H), dtype)
        for before, after in zip(kept, (zx, zh, *state, *d_new), strict=True):
            assert np.array_equal(before, after), "step or step_gradient changed one of its arguments in place"


def step_gradient_equals_finite_differences(cell: Cell) -> None:
    """Every entry of d_zx, d_zh and d_state equals the central difference of ``step`` in float64."""
    zx, zh, state, d_new = _arguments(cell, "float64")
    new = cell.step(NumpyOps(), zx, zh, state)
    d_zx, d_zh, d_state = cell.step_gradient(NumpyOps(), zx, zh, state, new, d_new)

    def loss(zx: Array, zh: Array, *state: Array) -> float:
        result = cell.step(NumpyOps(), zx, zh, state)
        return float(sum(np.sum(d * part) for d, part in zip(d_new, result, strict=True)))

    arguments = [zx, zh, *state]
    names = ["d_zx", "d_zh", *(f"d_state {name}" for name in cell.states)]
    for index, (name, found) in enumerate(zip(names, (d_zx, d_zh, *d_state), strict=True)):
        expected = _differences(loss, arguments, index)
        agree(name, np.broadcast_to(found, expected.shape), expected, TOLERANCE, "against finite differences")


def sequences_do_not_mix(cell: Cell) -> None:
    """A sequence's next state does not depend on the others in its batch."""
    zx, zh, state, _ = _arguments(cell, "float64")
    whole = cell.step(NumpyOps(), zx, zh, state)
    alone = cell.step(NumpyOps(), zx[:1], zh[:1], tuple(part[:1] for part in state))
    for name, together, single in zip(cell.states, whole, alone, strict=True):
        agree(f"new state {name}", single, together[:1], 1e-12, "one sequence alone")


def it_uses_nothing_but_ops_and_arithmetic(cell: Cell) -> None:
    """Equations touch arrays only through ``Ops`` and ``+ - * /``, so that every engine can run them."""
    zx, zh, state, d_new = (_sealed(argument) for argument in _arguments(cell, "float64"))
    ops = _SealedOps()
    try:
        new = cell.step(ops, zx, zh, state)
        cell.step_gradient(ops, zx, zh, state, new, d_new)
    except (TypeError, AttributeError) as error:
        raise AssertionError(
            f"step or step_gradient does more to its arrays than Ops and + - * / can: {error}"
        ) from error


CHECKS: tuple[Callable[[Cell], None], ...] = (
    it_declares_itself_sanely,
    step_keeps_shapes_and_dtypes,
    step_gradient_equals_finite_differences,
    sequences_do_not_mix,
    it_uses_nothing_but_ops_and_arithmetic,
)


class _Sealed:
    """An array of an engine nobody knows: it can be added, subtracted, multiplied, divided and negated, no more."""

    __array_ufunc__ = None  # NumPy's functions refuse it
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Array) -> None:
        self._value = value

    def _with(self, other: Any, operation: Callable[[Any, Any], Any]) -> _Sealed:
        return _Sealed(operation(self._value, _opened(other)))

    def __add__(self, other: Any) -> _Sealed:
        return self._with(other, lambda a, b: a + b)

    def __sub__(self, other: Any) -> _Sealed:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> _Sealed:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> _Sealed:
        return self._with(other, lambda a, b: a * b)

    def __truediv__(self, other: Any) -> _Sealed:
        return self._with(other, lambda a, b: a / b)

    def __rtruediv__(self, other: Any) -> _Sealed:
        return self._with(other, lambda a, b: b / a)

    def __neg__(self) -> _Sealed:
        return _Sealed(-self._value)

    def __bool__(self) -> bool:
        raise TypeError("an array has no truth value while it is traced")

    __radd__, __rmul__ = __add__, __mul__


class _SealedOps:
    """``Ops`` on sealed arrays."""

    def __getattr__(self, name: str) -> Callable[[_Sealed], _Sealed]:
        function = getattr(NumpyOps(), name)
        return lambda x: _Sealed(function(x._value))  # noqa: SLF001 - the seal is ours

    def split(self, x: _Sealed, parts: int) -> list[_Sealed]:
        return [_Sealed(piece) for piece in NumpyOps().split(x._value, parts)]  # noqa: SLF001

    def concatenate(self, pieces: Sequence[_Sealed]) -> _Sealed:
        return _Sealed(NumpyOps().concatenate([piece._value for piece in pieces]))  # noqa: SLF001


def _opened(other: Any) -> Any:
    return other._value if isinstance(other, _Sealed) else float(other)  # noqa: SLF001


def _sealed(argument: Array | CellState) -> Any:
    return tuple(_Sealed(part) for part in argument) if isinstance(argument, tuple) else _Sealed(argument)


def _arguments(cell: Cell, dtype: str) -> tuple[Array, Array, CellState, CellState]:
    """Return zx, zh (B, G*H), state and d_new_state, each (B, H), from a fixed seed."""
    rng = np.random.default_rng(0)

    def draw(width: int) -> Array:
        return rng.normal(size=(B, width)).astype(dtype)

    width = len(cell.gates) * H
    states = [tuple(draw(H) for _ in cell.states) for _ in range(2)]
    return draw(width), draw(width), states[0], states[1]


def _has_one_array_per_state(cell: Cell, what: str, found: object) -> None:
    assert isinstance(found, tuple), f"{what}: expected a tuple, got {type(found).__name__}"
    assert len(found) == len(cell.states), f"{what}: expected one per state {cell.states}, got {len(found)}"


def _differences(loss: Callable[..., float], arguments: list[Array], index: int) -> Array:
    """Return the central differences of ``loss`` by every entry of one argument."""
    gradient = np.zeros_like(arguments[index])
    for entry in np.ndindex(gradient.shape):
        values = []
        for sign in (1, -1):
            moved = [array.copy() for array in arguments]
            moved[index][entry] += sign * STEP
            values.append(loss(*moved))
        gradient[entry] = (values[0] - values[1]) / (2 * STEP)
    return gradient
