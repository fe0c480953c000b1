"""Proof that the gradient derived from a cell's ``step`` is its gradient.

A cell must pass before its equations serve as the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Cell, HarnessError
from harness.contract.errors import ParityError
from harness.measure.proof.differences import Difference, differences, joined
from harness.measure.proof.functions import Arrays, Function, stated_gradient, step_function
from harness.measure.proof.streams import generator

# Hidden units at which every element is differenced; even, for cells that split their units.
SMALL = 8
# A gate at 1 is moderate. Its slope is 3e-4 at 8, 2e-9 at 20 and practically 0 at 100.
LEVELS = (1.0, 1.0, 4.0, 8.0, 12.0, 20.0, 50.0, 100.0)
DIRECTIONS = 2
JUDGED = 4  # sequences that are differenced; all sequences are compared with one another
MOST_ELEMENTS = 2**17  # of one product of the whole batch
GRID = 2.0**-20  # arguments are multiples of it, so that a step away from them is exact
STEP = 2.0**-9  # along one element
# Also along one element, for functions that bend; and along random directions, in which each
# element may have a kink.
SHORT_STEP = 2.0**-14
HUGE = 1e4
RELATIVE = 1e-6
SAME = 1e-9  # of a sequence's largest element: another order of the operations may change as much
# The error allowed in float32: this factor times the effect of half an epsilon on every argument.
ROUNDINGS = 10.0
FLOOR_EPSILONS = 64.0
FAR = 2.0**100  # 1.3e30: from the smallest to the largest cotangents of float32
LOST = 1e-200  # underflow may lose as much of the gradients of such small cotangents
OUT_OF_PROPORTION = "is not in proportion to the gradient of the new state"
MIXES = "depends on the other sequences of the batch"

_proven: dict[tuple[int, int, int], Cell] = {}  # by identity: a plugin's cell need not be hashable
_proven_small: dict[int, Cell] = {}


def prove(cell: Cell, label: str, hidden: int, batch: int) -> None:
    """Compare the derived gradient with finite differences of ``step``, run by the cell's own code.

    A gradient that the cell states by hand must equal the derived one.

    In float64: every element of a small shape, and random directions at ``hidden`` and ``batch``,
    with moderate and saturated gates, and with states of zero, as at the start of a sequence. In
    float32 the cell must agree with itself in float64. The results of a sequence must not depend on
    the other sequences of its batch, or on earlier calls. The gradient must be proportional to the
    gradient of the new state, however small or large that is. Each shape is proven once per
    process.

    Args:
        cell: the cell of a trial.
        label: its name in errors, with its distribution.
        hidden: H of the trial.
        batch: B of the trial; only a part of it is used if a product has more than 2^17 elements.

    Raises:
        ParityError: the gradient is not that of ``step``.
        PluginError: the cell raises an error, or returns a wrong shape or dtype.
    """
    key = (id(cell), hidden, batch)
    if key in _proven:
        return
    widest = hidden * (max(len(cell.gates), hidden) if cell.matrix_states else len(cell.gates))
    rows = max(1, min(batch, MOST_ELEMENTS // widest))
    with np.errstate(all="ignore"):  # numbers that are not finite are not judged
        if id(cell) not in _proven_small and _runs_at(cell, label, SMALL):
            for function in _functions(cell, label, SMALL):
                _Proof(function).at_a_small_shape()
            _proven_small[id(cell)] = cell
        for function in _functions(cell, label, hidden):
            _Proof(function).at_the_trial(rows)
    _proven[key] = cell


def _functions(cell: Cell, label: str, hidden: int) -> Iterator[Function]:
    """Yield the functions to prove, after checking that they state the same equations."""
    step = step_function(cell, label, hidden)
    if (by_hand := stated_gradient(cell, label, hidden)) is not None:
        arguments = _draw(step, np.ones((2, 1)), "stated")
        values = step.value(arguments)
        cotangents = _cotangents(values)
        derived = step.gradient(arguments, values, cotangents)
        stated = by_hand.gradient(arguments, values, cotangents)
        _same(by_hand, "is not the gradient of step", derived, stated, of_gradient=True)
    yield step


def _runs_at(cell: Cell, label: str, hidden: int) -> bool:
    """Return whether the cell accepts this number of units; some cells need a multiple."""
    function = step_function(cell, label, hidden)
    try:
        function.value(_draw(function, np.ones((1, 1)), "small"))
    except HarnessError:
        return False
    return True


@dataclass(frozen=True)
class _Proof:
    function: Function

    def at_the_trial(self, rows: int) -> None:
        """Difference along random directions; compare the batch with its parts in other orders."""
        function, rng = self.function, generator(0, "proof", "directions")
        first = _draw(function, self._mixed(rows, "first"), "first")
        second = _draw(function, self._mixed(rows, "second"), "second")
        values = function.value(first)
        others = function.value(second)
        function.gradient(second, others, _cotangents(others))
        cotangents = _cotangents(values)
        gradients = function.gradient(first, values, cotangents)  # as in BPTT: after other steps
        _same(function, "changes from call to call", values, function.value(first))
        reversed_rows = np.arange(rows)[::-1]
        self._check_alone(reversed_rows, first, values, cotangents, gradients)
        self._check_proportion(first, values, cotangents, gradients)
        chosen = np.unique(np.linspace(0, rows - 1, min(rows, JUDGED)).round().astype(int))
        self._check_alone(chosen, first, values, cotangents, gradients)
        arguments = [part[chosen] for part in first]
        weights = [part[chosen] for part in cotangents]
        for index, argument in enumerate(arguments):
            directions = rng.choice([-1.0, 1.0], (DIRECTIONS, *argument.shape))
            stated = np.einsum("bw,dbw->db", gradients[index][chosen], directions)
            difference = differences(function, arguments, index, directions, weights, SHORT_STEP)
            self._judge(index, stated, difference)

    def at_a_small_shape(self) -> None:
        """Difference along every element, one saturation level per sequence; then check float32.

        Two more sequences are as at the start: the first has states of zero, the second is zero
        everywhere.
        """
        function = self.function
        arguments = [
            np.concatenate([part, part[:1] * (not name.startswith("state")), part[:1] * 0.0])
            for name, part in zip(
                function.arguments, _draw(function, np.array(LEVELS)[:, None], "small"), strict=True
            )
        ]
        values = function.value(arguments)
        moderate = [part[: len(LEVELS)][np.array(LEVELS) == 1.0] for part in values]
        if not all(np.isfinite(part).all() for part in moderate):
            raise ParityError(f"{function.label}: {function.name} is not finite for numbers near 1")
        cotangents = _cotangents(values)
        gradients = function.gradient(arguments, values, cotangents)
        for row in (len(LEVELS) - 1, len(LEVELS), len(LEVELS) + 1):
            self._check_alone(np.array([row]), arguments, values, cotangents, gradients)
        for index, argument in enumerate(arguments):
            width = argument.shape[1]
            directions = np.repeat(np.eye(width)[:, None], len(argument), axis=1)
            long = differences(function, arguments, index, directions, cotangents, STEP)
            short = differences(function, arguments, index, directions, cotangents, SHORT_STEP)
            self._judge(index, gradients[index].T, joined(long, short))
        self._in_float32()

    def _check_alone(
        self,
        rows: NDArray[np.int64],
        arguments: Arrays,
        values: Arrays,
        cotangents: Arrays,
        gradients: Arrays,
    ) -> None:
        """Raise unless these sequences alone, in this order, have the same results."""
        part_arguments, part_values, part_cotangents, part_gradients = (
            [np.ascontiguousarray(part[rows]) for part in parts]
            for parts in (arguments, values, cotangents, gradients)
        )
        results = self.function.value(part_arguments)
        _same(self.function, MIXES, part_values, results)
        again = self.function.gradient(part_arguments, results, part_cotangents)
        _same(self.function, MIXES, part_gradients, again, of_gradient=True)

    def _check_proportion(
        self, arguments: Arrays, values: Arrays, cotangents: Arrays, gradients: Arrays
    ) -> None:
        """Raise unless cotangents times a factor give the gradients times that factor.

        The cotangents of training are often far smaller than the random cotangents here, and larger
        if the network explodes.
        """
        for factor in (1 / FAR, FAR):
            scaled_cotangents = [factor * part for part in cotangents]
            scaled = self.function.gradient(arguments, values, scaled_cotangents)
            again = [part / factor for part in scaled]
            _same(self.function, OUT_OF_PROPORTION, gradients, again, of_gradient=True)

    def _mixed(self, rows: int, name: str) -> Array:
        """Return random levels of the gates, (rows, H), more than half of them moderate."""
        rng = generator(0, "proof", "levels", name)
        levels: Array = rng.choice([*[1.0] * len(LEVELS), *LEVELS], (rows, self.function.hidden))
        return levels

    def _judge(self, index: int, stated: Array, difference: Difference) -> None:
        """Raise unless ``stated`` (directions, sequences) lies within the bounds."""
        low, high, rounding = difference
        tolerance = RELATIVE * np.maximum(np.abs(low), np.abs(high)) + (high - low) + rounding
        usable = np.isfinite(tolerance)
        outside = np.maximum(low - stated, stated - high)
        wrong = usable & ~(outside <= tolerance)
        if not wrong.any():
            return
        ratio = np.nan_to_num(outside, nan=np.inf) / np.maximum(tolerance, 1e-300)
        excess = np.where(wrong, ratio, -1.0)
        worst = np.unravel_index(int(np.argmax(excess)), excess.shape)
        expected = 0.5 * (low[worst] + high[worst])
        error = abs(stated[worst] - expected)
        function = self.function
        fix = "Let step compute the same with arrays as with symbols"
        if not np.isfinite(error):
            fix = "Keep what sqrt, log and / take away from 0, as in ops.sqrt(x + 1e-6)"
        raise ParityError(
            f"{function.label}: d_{function.arguments[index]} of {function.gradient_name} is "
            f"{stated[worst]:.3g}, the finite difference of {function.name} {expected:.3g} "
            f"(hidden {function.hidden}). {fix}"
        )

    def _in_float32(self) -> None:
        """Compare values and gradients in float32 with those in float64, for moderate gates."""
        function, epsilon = self.function, float(np.finfo(np.float32).eps)
        arguments = [
            part.astype(np.float32).astype(np.float64)
            for part in _draw(function, np.ones((4, 1)), "float32")
        ]
        rng = generator(0, "proof", "nudges")
        nudged = [
            part * (1 + 0.5 * epsilon * rng.choice([-1.0, 1.0], part.shape)) for part in arguments
        ]
        tensors = zip(
            function.tensors,
            _everything(function, arguments),
            _everything(function, nudged),
            _everything(function, [part.astype(np.float32) for part in arguments]),
            strict=True,
        )
        for name, exact, moved, single in tensors:
            scale = max(float(np.max(np.abs(exact))), 1e-3)
            effect = float(np.max(np.abs(moved - exact)))
            tolerance = ROUNDINGS * effect + FLOOR_EPSILONS * epsilon * scale
            error = float(np.max(np.abs(single - exact)))
            if not error <= tolerance:
                raise ParityError(
                    f"{function.label}: {name} in float32 is off by {error:.3g} "
                    f"from itself in float64 ({tolerance:.3g} allowed)"
                )


def _same(
    function: Function, fault: str, expected: Arrays, actual: Arrays, *, of_gradient: bool = False
) -> None:
    """Raise unless both agree to rounding, sequence by sequence; skip sequences not finite."""
    results = len(function.results)
    names = function.tensors[results:] if of_gradient else function.tensors[:results]
    for name, right, tensor in zip(names, expected, actual, strict=True):
        scale = np.max(np.abs(right), axis=1, keepdims=True)
        wrong = np.isfinite(scale) & ~(np.abs(right - tensor) <= SAME * scale + LOST)
        if wrong.any():
            size = np.max(np.abs(right - tensor)[wrong])
            raise ParityError(
                f"{function.label}: {name} {fault}: "
                f"it differs by {size:.3g} (hidden {function.hidden})"
            )


def _draw(function: Function, levels: Array, name: str) -> list[Array]:
    """Return random arguments.

    ``levels`` (rows, 1 or H) is the size of one of zx and the products; states have half that size.
    A gate is saturated in zx or in its products, never in both.
    """
    rng = generator(0, "proof", name)
    rows, hidden, arguments = len(levels), function.hidden, list[Array]()
    by_unit = np.broadcast_to(levels, (rows, hidden))
    large = rng.integers(2, size=(rows, len(function.gates_of[0]), hidden)) == 1
    for part in range(len(function.arguments)):
        if part < len(function.gates_of):
            chosen = large if part == 0 else ~large
            sizes = [
                np.where(chosen[:, gate] | (len(function.gates_of) == 1), by_unit, 1.0)
                for gate in function.gates_of[part]
            ]
            size = np.concatenate(sizes, axis=1)
        else:
            by_row = np.broadcast_to(np.maximum(1.0, 0.5 * levels), (rows, hidden))
            size = np.repeat(by_row, function.width(function.arguments[part]) // hidden, axis=1)
        noise = rng.normal(size=size.shape)
        drawn = np.where(size > 1, np.sign(noise) * size, 0.0) + noise
        arguments.append(np.round(drawn / GRID) * GRID)
    return arguments


def _cotangents(values: Arrays) -> list[Array]:
    """Return random cotangents, 0 for huge values: their rounding would hide other differences."""
    rng = generator(0, "proof", "cotangents")
    return [
        np.where(np.abs(value) > HUGE, 0.0, rng.normal(size=value.shape)).astype(value.dtype)
        for value in values
    ]


def _everything(function: Function, arguments: Arrays) -> list[Array]:
    """Return the results and the gradients."""
    values = function.value(arguments)
    return [*values, *function.gradient(arguments, values, _cotangents(values))]
