"""Checks of a cell: its declaration, its use of ``Ops``, and its hand-derived gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from harness.cells.operations import NumpyOps
from harness.contract import Backend, Cell, LinearCell
from harness.contract.cell import CellState
from harness.contract.model import Array
from harness.plugins.declarations import check_declaration
from harness.testing.backend.gradients import (
    hidden_gradients_equal_finite_differences,
    parameter_gradients_equal_finite_differences,
)
from harness.testing.bench import Bench
from harness.testing.compare import Check, NotApplicable, agree, is_array

B, H = 3, 4
STEP = 1e-6
EXACT = 1e-12
LINEAR = 1e-9  # for a difference of two states
TOLERANCE = 1e-7  # for central differences of values near 1, whose rounding is about 1e-10


def checks_for_cell(cell: Cell, reference: Backend | None = None) -> Iterator[Check]:
    """Yield every check of a cell; with a reference backend, also those of whole networks."""
    for function in CHECKS:
        yield Check(function.__name__, partial(function, cell), cell=cell.name)
    if reference is not None:
        bench = Bench(reference, reference, cell, reference.variants(cell)[0])
        for network in (
            parameter_gradients_equal_finite_differences,
            hidden_gradients_equal_finite_differences,
        ):
            yield Check(network.__name__, partial(network, bench), bench.variant, cell.name)


def it_declares_itself_sanely(cell: Cell) -> None:
    """Names are valid and distinct, h comes first, and the named gates exist."""
    check_declaration("cell", cell)
    for kind, names in (("gates", cell.gates), ("states", cell.states)):
        assert isinstance(names, tuple), f"{kind}: expected a tuple of names, got {names!r}"
    assert cell.states[0] == "h", f"states: the first must be 'h', the output, got {cell.states}"
    if isinstance(cell, LinearCell):
        assert not cell.recurrent, (
            "recurrent: a LinearCell takes no product with h, so it must be False"
        )
        assert cell.states == ("h",), f"states: a LinearCell has the one state h, got {cell.states}"
    retention = cell.retention(NumpyOps(), dict.fromkeys(cell.gates, np.zeros(H)))
    if retention is not None:
        is_array("retention", np.array(retention), (H,), "float64")


def step_keeps_shapes_and_dtypes(cell: Cell) -> None:
    """``step`` and ``step_gradient`` return arrays of their arguments' dtype and change none."""
    for dtype in ("float64", "float32"):
        zx, zh, state, d_new = _arguments(cell, dtype)
        arguments = _present((zx, zh, *state, *d_new))
        copies = [array.copy() for array in arguments]
        new = cell.step(NumpyOps(), zx, zh, state)
        _has_one_array_per_state(cell, "step", new)
        for name, array in zip(cell.states, new, strict=True):
            is_array(f"new state {name}", array, (B, H), dtype)
        d_zx, d_zh, d_state = cell.step_gradient(NumpyOps(), zx, zh, state, new, d_new)
        _has_one_array_per_state(cell, "d_state of step_gradient", d_state)
        is_array("d_zx", d_zx, zx.shape, dtype)
        if cell.recurrent:
            is_array("d_zh", d_zh, zx.shape, dtype)
        else:
            assert d_zh is None, (
                "d_zh: expected None for a cell without recurrent product, "
                f"got {type(d_zh).__name__}"
            )
        for name, array in zip(cell.states, d_state, strict=True):
            if not isinstance(array, float):
                is_array(f"d_state {name}", array, (B, H), dtype)
        for before, after in zip(copies, arguments, strict=True):
            assert np.array_equal(before, after), (
                "step or step_gradient changed one of its arguments in place"
            )


def step_gradient_equals_finite_differences(cell: Cell) -> None:
    """Each entry of d_zx, d_zh and d_state equals the central difference of ``step`` in float64."""
    zx, zh, state, d_new = _arguments(cell, "float64")
    new = cell.step(NumpyOps(), zx, zh, state)
    d_zx, d_zh, d_state = cell.step_gradient(NumpyOps(), zx, zh, state, new, d_new)

    def loss(zx: Array, *others: Array) -> float:
        zh, states = (others[0], others[1:]) if cell.recurrent else (None, others)
        result = cell.step(NumpyOps(), zx, zh, states)
        return float(sum(np.sum(d * part) for d, part in zip(d_new, result, strict=True)))

    gradients = {"d_zx": d_zx}
    if cell.recurrent:
        gradients["d_zh"] = d_zh
    for name, gradient in zip(cell.states, d_state, strict=True):
        gradients[f"d_state {name}"] = gradient
    _agree_with_differences(gradients, loss, _present((zx, zh, *state)))


def coefficients_equal_the_step(cell: Cell) -> None:
    """``step`` is ``a * h + b`` with (a, b) = ``coefficients``, of one step or of all at once."""
    linear, zx, d_new = _linear(cell)
    _, _, (h,), _ = _arguments(cell, "float64")
    all_steps = linear.coefficients(NumpyOps(), np.stack([zx, -zx]))  # (T, B, H)
    one_step = linear.coefficients(NumpyOps(), zx)
    for name, whole, single in zip("ab", all_steps, one_step, strict=True):
        is_array(f"coefficient {name}", whole, (2, B, H), "float64")
        agree(f"coefficient {name}", whole[0], single, EXACT, "one time step alone")
    a, b = one_step
    (new_h,) = linear.step(NumpyOps(), zx, None, (h,))
    agree("new state h", new_h, a * h + b, EXACT, "step against a * h + b")
    (moved,) = linear.step(NumpyOps(), zx, None, (h + d_new,))
    agree("new state h", moved - new_h, a * d_new, LINEAR, "it is not linear in h")


def coefficients_gradient_equals_finite_differences(cell: Cell) -> None:
    """Every entry of d_zx equals the central difference of ``coefficients`` in float64."""
    linear, zx, d_a = _linear(cell)
    d_b = np.random.default_rng(1).normal(size=d_a.shape)

    def loss(zx: Array) -> float:
        a, b = linear.coefficients(NumpyOps(), zx)
        return float(np.sum(d_a * a) + np.sum(d_b * b))

    d_zx = linear.coefficients_gradient(NumpyOps(), zx, d_a, d_b)
    _agree_with_differences({"d_zx of coefficients_gradient": d_zx}, loss, [zx])


def sequences_do_not_mix(cell: Cell) -> None:
    """A sequence's next state does not depend on the others in its batch."""
    zx, zh, state, _ = _arguments(cell, "float64")
    whole = cell.step(NumpyOps(), zx, zh, state)
    first_zh = None if zh is None else zh[:1]
    alone = cell.step(NumpyOps(), zx[:1], first_zh, tuple(part[:1] for part in state))
    for name, together, single in zip(cell.states, whole, alone, strict=True):
        agree(f"new state {name}", single, together[:1], EXACT, "one sequence alone")


def it_uses_nothing_but_ops_and_arithmetic(cell: Cell) -> None:
    """Equations touch arrays only through ``Ops`` and ``+ - * /``, so every engine can run them."""
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
    coefficients_equal_the_step,
    coefficients_gradient_equals_finite_differences,
    sequences_do_not_mix,
    it_uses_nothing_but_ops_and_arithmetic,
)


class _Sealed:
    """An array of an unknown engine: it supports only ``+ - * /`` and negation."""

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


def _sealed(argument: Array | CellState | None) -> Any:
    if isinstance(argument, tuple):
        return tuple(_Sealed(part) for part in argument)
    return None if argument is None else _Sealed(argument)


def _arguments(cell: Cell, dtype: str) -> tuple[Array, Array | None, CellState, CellState]:
    """Return random zx, zh (B, G*H), state and d_new_state, each (B, H); zh may be None."""
    rng = np.random.default_rng(0)

    def draw(width: int) -> Array:
        return rng.normal(size=(B, width)).astype(dtype)

    width = len(cell.gates) * H
    states = [tuple(draw(H) for _ in cell.states) for _ in range(2)]
    return draw(width), draw(width) if cell.recurrent else None, states[0], states[1]


def _linear(cell: Cell) -> tuple[LinearCell, Array, Array]:
    """Return the cell, zx (B, G*H) and a direction (B, H)."""
    if not isinstance(cell, LinearCell):
        raise NotApplicable("its state is not linear in the state before")
    zx, _, _, (d_new,) = _arguments(cell, "float64")
    return cell, zx, d_new


def _present(arrays: Sequence[Array | None]) -> list[Array]:
    return [array for array in arrays if array is not None]


def _has_one_array_per_state(cell: Cell, what: str, states: object) -> None:
    assert isinstance(states, tuple), f"{what}: expected a tuple, got {type(states).__name__}"
    assert len(states) == len(cell.states), (
        f"{what}: expected one per state {cell.states}, got {len(states)}"
    )


def _agree_with_differences(
    gradients: Mapping[str, Array | float], loss: Callable[..., float], arguments: list[Array]
) -> None:
    """Compare each gradient with central differences of ``loss``, in the order of ``arguments``."""
    for index, (name, gradient) in enumerate(gradients.items()):
        expected = _differences(loss, arguments, index)
        actual = np.broadcast_to(gradient, expected.shape)
        agree(name, actual, expected, TOLERANCE, "against finite differences")


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
