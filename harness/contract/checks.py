"""Checks that every backend makes before it builds or changes anything, with the same messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from harness.contract.backend import Backend, Execution, Missing, Snapshot
from harness.contract.cell import Cell
from harness.contract.errors import UnavailableError, UnknownNameError, UsageError, with_fix
from harness.contract.model import Model, State


def check_variant(backend: Backend, cell: Cell, variant: str) -> None:
    """Check that the backend can execute ``cell`` with this variant here.

    Raises:
        UnavailableError: the variant exists but cannot run here; with the reason and the fix.
        UnknownNameError: the variant does not exist.
    """
    offered = backend.variants(cell)
    if variant not in offered:
        raise variant_error(backend.name, variant, offered, backend.missing_variants())


def variant_error(
    backend: str, variant: str, offered: Iterable[str], missing: Mapping[str, Missing]
) -> UsageError:
    """Return the error for a variant that is not offered: it cannot run here, or is unknown."""
    if (absent := missing.get(variant)) is not None:
        problem = f"{backend}:{variant} cannot run here: {absent.reason}"
        return UnavailableError(with_fix(problem, absent.fix))
    kind = f"variant of backend {backend!r}:"
    return UnknownNameError(kind, variant, {*offered, *missing}, "harness list backends")


def check_dtype(backend: Backend, execution: Execution) -> None:
    """Check that the backend supports the execution's dtype on the execution's device.

    Raises:
        UsageError: it does not; the message lists the dtypes that it supports.
    """
    dtypes = backend.dtypes(execution.device)
    if execution.dtype not in dtypes:
        problem = f"{backend.name} has no dtype {execution.dtype!r} on {execution.device}"
        raise UsageError(f"{problem}; it has: {', '.join(dtypes)}")


def check_state(model: Model, state: State) -> None:
    """Check that ``state`` has an array for each state of the cell, with one B.

    Each is (layers, B, H), or (layers, B, H, H) for a matrix.

    Raises:
        UsageError: the number of arrays or one of their shapes is wrong.
    """
    shapes = tuple(np.shape(part) for part in state)
    sizes = {shape[1] for shape in shapes if len(shape) > 1}
    if len(sizes) != 1 or shapes != model.state_shapes(*sizes):
        expected = ", ".join(
            f"{name} ({', '.join(map(str, (model.layers, 'B', *shape)))})"
            for name, shape in zip(
                model.cell.states, model.cell.state_shapes(model.hidden), strict=True
            )
        )
        raise UsageError(f"a state of {model.cell.name} is {expected}, not {list(shapes)}")


def named_state(state: State | None) -> Snapshot:
    """Return the arrays of a carried state by name, for a snapshot; {} if there is none."""
    return {f"state_{index}": part for index, part in enumerate(state or ())}


def state_of(snapshot: Snapshot) -> State | None:
    """Return the carried state of a snapshot that has those of ``named_state``."""
    count = sum(name.startswith("state_") for name in snapshot)
    return tuple(snapshot[f"state_{index}"] for index in range(count)) or None
