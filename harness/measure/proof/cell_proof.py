"""The proof that a cell's hand-derived gradient is that of its own ``step``. Unproven cells are no reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Cell, HarnessError, LinearCell
from harness.contract.errors import ParityError
from harness.measure.proof.differences import Difference, differences, joined
from harness.measure.proof.functions import Arrays, Function, coefficients_of, step_of
from harness.measure.proof.streams import generator

SMALL = 8  # hidden units at which every element is differenced; even, for cells that cut their units in parts
# A gate at 1 is moderate; at 8 its slope is 3e-4, at 20 it is 2e-9, at 100 nothing is left of it.
LEVELS = (1.0, 1.0, 4.0, 8.0, 12.0, 20.0, 50.0, 100.0)
DIRECTIONS = 2
JUDGED = 4  # sequences that are differenced; all of them are compared with one another
MOST_ELEMENTS = 2**17  # of one product of the whole batch
GRID = 2.0**-20  # arguments are multiples of it, so that a step away from them is exact
STEP = 2.0**-9  # along one element ...
SHORT_STEP = (
    2.0**-14
)  # ... and again, for functions that bend; along many at once, of which each may have a kink
HUGE = 1e4
RELATIVE = 1e-6
SAME = 1e-9  # of the largest element of one sequence: what another order of the same operations may change
ROUNDINGS = 10.0  # times what a change of every argument by half an epsilon does: the error that float32 may have
FLOOR_EPSILONS = 64.0
FAR = 2.0**100  # 1.3e30: from the smallest to the largest cotangents that float32 holds
LOST = 1e-200  # what underflow may take from gradients of such small cotangents
OUT_OF_PROPORTION = "is not in proportion to the gradient of the new state"
MIXES = "depends on the other sequences of the batch"

_proven: dict[tuple[int, int, int], Cell] = {}  # by identity: a plugin's cell need not be hashable
_proven_small: dict[int, Cell] = {}


def prove(cell: Cell, label: str, hidden: int, batch: int) -> None:
    """Hold the cell's gradient against finite differences of its ``step``, once in a process for each shape.

    In float64: every element of a small shape, and random directions at ``hidden`` and ``batch``,
    with moderate and saturated gates, and with states of zero, as at the start of a sequence. In
    float32 the cell must agree with itself in float64. The results of a sequence must not depend on
    the other sequences of its batch, nor on earlier calls. The gradient must be in proportion to
    the gradient of the new state, however small or large that is.

    Args:
        cell: what a trial runs.
        label: what errors call it, with its distribution.
        hidden: of the trial.
        batch: of the trial; only a part of it is used if a product has more than 2^17 elements.

    Raises:
        ParityError: the gradient is not that of ``step``.
        PluginError: an error of the cell's own, or a result of another shape or dtype than the
            contract asks for.
    """
    key = (id(cell), hidden, batch)
    if key in _proven:
        return
    rows = max(1, min(batch, MOST_ELEMENTS // (len(cell.gates) * hidden)))
    with np.errstate(all="ignore"):  # what is not finite is not judged
        if id(cell) not in _proven_small and _runs_at(cell, label, SMALL):
            for function in _functions(cell, label, SMALL):
                _Proof(function).at_a_small_shape()
            _proven_small[id(cell)] = cell
        for function in _functions(cell, label, hidden):
            _Proof(function).at_the_trial(rows)
    _proven[key] = cell


def _functions(cell: Cell, label: str, hidden: int) -> Iterator[Function]:
    """Yield the functions to prove, after checking that they state the same equations."""
    step = step_of(cell, label, hidden)
    if isinstance(cell, LinearCell):
        coefficients = coefficients_of(cell, label, hidden)
        arguments = _draw(step, np.ones((2, 1)), "linear")
        a, b = coefficients.value(arguments[:1])
        _same(
            step, "is not a * h + b of coefficients", [a * arguments[1] + b], step.value(arguments)
        )
        every = coefficients_of(cell, label, hidden, of_all_steps=True).value(arguments[:1])
        _same(coefficients, "is another for one time step than for all", every, [a, b])
        yield coefficients
    yield step


def _runs_at(cell: Cell, label: str, hidden: int) -> bool:
    """Return whether the cell accepts this number of units: some cells need a multiple."""
    function = step_of(cell, label, hidden)
    try:
        function.value(_draw(function, np.ones((1, 1)), "small"))
    except HarnessError:
        return False
    return True


@dataclass(frozen=True)
class _Proof:
    function: Function

    def at_the_trial(self, rows: int) -> None:
        """Difference along random directions, and compare the batch with itself in another order and with others."""
        function, rng = self.function, generator(0, "proof", "directions")
        first, second = (
            _draw(function, self._mixed(rows, name), name) for name in ("first", "second")
        )
        values = function.value(first)
        others = function.value(second)
        function.gradient(second, others, _cotangents(others))
        cotangents = _cotangents(values)
        gradients = function.gradient(first, values, cotangents)  # as in BPTT: after other steps
        _same(function, "changes from call to call", values, function.value(first))
        turned = np.arange(rows)[::-1]
        self._is_alone(turned, first, values, cotangents, gradients)
        self._is_in_proportion(first, values, cotangents, gradients)
        chosen = np.unique(np.linspace(0, rows - 1, min(rows, JUDGED)).round().astype(int))
        self._is_alone(chosen, first, values, cotangents, gradients)
        some = [part[chosen] for part in first]
        for index, argument in enumerate(some):
            directions = rng.choice([-1.0, 1.0], (DIRECTIONS, *argument.shape))
            self._judge(
                index,
                np.einsum("bw,dbw->db", gradients[index][chosen], directions),
                differences(
                    function,
                    some,
                    index,
                    directions,
                    [part[chosen] for part in cotangents],
                    SHORT_STEP,
                ),
            )

    def at_a_small_shape(self) -> None:
        """Difference along every element, one level of saturation per sequence; then compare float32 with float64.

        Two more sequences are as at the start: the first has states of zero, the second has zeros
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
            self._is_alone(np.array([row]), arguments, values, cotangents, gradients)
        for index, argument in enumerate(arguments):
            width = argument.shape[1]
            directions = np.repeat(np.eye(width)[:, None], len(argument), axis=1)
            long, short = (
                differences(function, arguments, index, directions, cotangents, step)
                for step in (STEP, SHORT_STEP)
            )
            self._judge(index, gradients[index].T, joined(long, short))
        self._in_float32()

    def _is_alone(
        self,
        rows: NDArray[np.int64],
        arguments: Arrays,
        values: Arrays,
        cotangents: Arrays,
        gradients: Arrays,
    ) -> None:
        """Raise unless these sequences have the same results, in this order and without the others of their batch."""
        some, right, pulls, exact = (
            [np.ascontiguousarray(part[rows]) for part in parts]
            for parts in (arguments, values, cotangents, gradients)
        )
        results = self.function.value(some)
        _same(self.function, MIXES, right, results)
        _same(
            self.function,
            MIXES,
            exact,
            self.function.gradient(some, results, pulls),
            of_gradient=True,
        )

    def _is_in_proportion(
        self, arguments: Arrays, values: Arrays, cotangents: Arrays, gradients: Arrays
    ) -> None:
        """Raise unless cotangents times a factor give the gradients times that factor.

        The cotangents of training are often far smaller than the random ones here, and larger if
        the network explodes.
        """
        for factor in (1 / FAR, FAR):
            scaled = self.function.gradient(
                arguments, values, [factor * part for part in cotangents]
            )
            again = [part / factor for part in scaled]
            _same(self.function, OUT_OF_PROPORTION, gradients, again, of_gradient=True)

    def _mixed(self, rows: int, name: str) -> Array:
        """Return the level of each unit's gates, half of them moderate, (rows, H)."""
        rng = generator(0, "proof", "levels", name)
        levels: Array = rng.choice([*[1.0] * len(LEVELS), *LEVELS], (rows, self.function.hidden))
        return levels

    def _judge(self, index: int, stated: Array, difference: Difference) -> None:
        """Raise unless ``stated`` (directions, sequences) lies between the derivatives from the left and the right."""
        low, high, rounding = difference
        tolerance = RELATIVE * np.maximum(np.abs(low), np.abs(high)) + (high - low) + rounding
        usable = np.isfinite(tolerance)
        outside = np.maximum(low - stated, stated - high)
        wrong = usable & ~(outside <= tolerance)
        if not wrong.any():
            return
        excess = np.where(
            wrong, np.nan_to_num(outside, nan=np.inf) / np.maximum(tolerance, 1e-300), -1.0
        )
        at = np.unravel_index(int(np.argmax(excess)), excess.shape)
        right = 0.5 * (low[at] + high[at])
        size = abs(stated[at] - right)
        function = self.function
        raise ParityError(
            f"{function.label}: d_{function.arguments[index]} of {function.gradient_name} is off by {size:.3g} "
            f"from the finite difference of its own {function.name}, {right:.3g} (hidden {function.hidden}). "
            f"Correct {function.gradient_name}"
        )

    def _in_float32(self) -> None:
        """Compare moderate values and gradients in float32 with the same in float64."""
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
            tolerance = (
                ROUNDINGS * float(np.max(np.abs(moved - exact))) + FLOOR_EPSILONS * epsilon * scale
            )
            error = float(np.max(np.abs(single - exact)))
            if not error <= tolerance:
                raise ParityError(
                    f"{function.label}: {name} in float32 is off by {error:.3g} from itself in float64 "
                    f"({tolerance:.3g} allowed)"
                )


def _same(
    function: Function, fault: str, expected: Arrays, actual: Arrays, *, of_gradient: bool = False
) -> None:
    """Raise unless both agree to rounding, sequence by sequence; those that are not finite are left out."""
    names = (
        function.tensors[len(function.results) :]
        if of_gradient
        else function.tensors[: len(function.results)]
    )
    for name, right, tensor in zip(names, expected, actual, strict=True):
        scale = np.max(np.abs(right), axis=1, keepdims=True)
        wrong = np.isfinite(scale) & ~(np.abs(right - tensor) <= SAME * scale + LOST)
        if wrong.any():
            size = np.max(np.abs(right - tensor)[wrong])
            raise ParityError(
                f"{function.label}: {name} {fault}: it differs by {size:.3g} (hidden {function.hidden})"
            )


def _draw(function: Function, levels: Array, name: str) -> list[Array]:
    """Return arguments; ``levels`` (rows, 1 or H) is the size of one of the products, and half of it the states'.

    Each saturated element of ``zx`` meets a moderate one of ``zh``, or the other way round.
    """
    rng = generator(0, "proof", name)
    rows, arguments = len(levels), list[Array]()
    large = rng.integers(2, size=(rows, function.gates * function.hidden)) == 1
    for part, argument in enumerate(function.arguments):
        if argument.startswith("z"):
            size = np.tile(np.broadcast_to(levels, (rows, function.hidden)), function.gates)
            size = np.where(large == (part == 0), size, 1.0) if "zh" in function.arguments else size
        else:
            size = np.broadcast_to(np.maximum(1.0, 0.5 * levels), (rows, function.hidden))
        noise = rng.normal(size=size.shape)
        drawn = np.where(size > 1, np.sign(noise) * size, 0.0) + noise
        arguments.append(np.round(drawn / GRID) * GRID)
    return arguments


def _cotangents(values: Arrays) -> list[Array]:
    """Return random cotangents, 0 for huge values: rounding of these would hide differences of the others."""
    rng = generator(0, "proof", "cotangents")
    return [
        np.where(np.abs(value) > HUGE, 0.0, rng.normal(size=value.shape)).astype(value.dtype)
        for value in values
    ]


def _everything(function: Function, arguments: Arrays) -> list[Array]:
    """Return the results and the gradient."""
    values = function.value(arguments)
    return [*values, *function.gradient(arguments, values, _cotangents(values))]
