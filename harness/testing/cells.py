"""Checks of a cell: its declaration, its trace, and the gradient that is derived from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from harness.cells.operations import NumpyOps
from harness.contract import Backend, Cell, HarnessError
from harness.measure.proof.cell_proof import prove
from harness.measure.proof.functions import step_function
from harness.plugins.declarations import check_declaration
from harness.recurrence import derive
from harness.testing.backend.gradients import (
    hidden_gradients_equal_finite_differences,
    parameter_gradients_equal_finite_differences,
)
from harness.testing.bench import Bench
from harness.testing.compare import Check, agree, is_array

B, H = 3, 4
EXACT = 1e-12


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
    for kind, names in (("gates", cell.gates), ("states", cell.states), ("vectors", cell.vectors)):
        assert isinstance(names, tuple), f"{kind}: expected a tuple of names, got {names!r}"
    assert cell.states[0] == "h", f"states: the first must be 'h', the output, got {cell.states}"
    retention = cell.retention(NumpyOps(), dict.fromkeys(cell.gates, np.zeros(H)))
    if retention is not None:
        is_array("retention", np.array(retention), (H,), "float64")


def step_can_be_traced(cell: Cell) -> None:
    """``step`` uses only its arguments, ``Ops`` and ``+ - * /``, and branches on no value."""
    _no_error(lambda: derive(cell))


def the_trace_equals_the_step(cell: Cell) -> None:
    """``step`` on arrays gives what its trace gives, in float64 and float32."""
    function = step_function(cell, cell.name, H)
    rng = np.random.default_rng(0)
    widths = [len(gates) * H for gates in function.gates_of]
    widths += [function.width(name) for name in function.arguments[len(widths) :]]
    count, ends = len(cell.products), len(cell.products) + len(cell.states) + 1
    shapes = cell.state_shapes(H)
    for dtype in ("float64", "float32"):
        arguments = [rng.normal(size=(B, width)).astype(dtype) for width in widths]
        by_code = function.value(arguments)[: len(cell.states)]
        products, states = arguments[1 : count + 1], arguments[count + 1 : ends]
        by_trace, _ = derive(cell).step(
            NumpyOps(),
            arguments[0],
            [part.reshape(B, *shape) for part, shape in zip(states, shapes, strict=True)],
            arguments[ends:],
            lambda index, _, values=products: values[index],  # type: ignore[misc]
        )
        for name, expected, actual in zip(cell.states, by_code, by_trace, strict=True):
            tolerance = EXACT if dtype == "float64" else 1e-5
            agree(
                f"new state {name}",
                actual.reshape(B, -1),
                expected,
                tolerance,
                "the trace against step",
            )


def the_gradient_equals_finite_differences(cell: Cell) -> None:
    """The derived gradient is that of ``step``; so is one that the cell states by hand.

    ``harness.measure.proof.cell_proof.prove`` says how: every element of a small shape, saturated
    gates, float32, sequences that do not mix.
    """
    _no_error(lambda: prove(cell, cell.name, H, B))


CHECKS: tuple[Callable[[Cell], None], ...] = (
    it_declares_itself_sanely,
    step_can_be_traced,
    the_trace_equals_the_step,
    the_gradient_equals_finite_differences,
)


def _no_error(action: Callable[[], object]) -> None:
    try:
        action()
    except HarnessError as error:
        raise AssertionError(str(error)) from error
