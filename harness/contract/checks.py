"""What every backend must refuse in the same words, before it builds or changes anything."""

from __future__ import annotations

import numpy as np

from harness.contract.backend import Backend, Execution
from harness.contract.cell import Cell
from harness.contract.errors import UnavailableError, UnknownNameError, UsageError
from harness.contract.model import Model, State


def check_variant(backend: Backend, cell: Cell, variant: str) -> None:
    """Check that the backend can execute ``cell`` so, here.

    Raises:
        UnavailableError: it knows the variant but cannot offer it here; with the reason and the cure.
        UnknownNameError: there is no such variant.
    """
    offered = backend.variants(cell)
    if variant in offered:
        return
    if (absent := backend.missing_variants().get(variant)) is not None:
        raise UnavailableError(f"{backend.name}:{variant} cannot run here: {absent.reason}. Cure: {absent.cure}")
    raise UnknownNameError(f"variant of {backend.name}", variant, offered)


def check_dtype(backend: Backend, execution: Execution) -> None:
    """Check that the backend computes in the execution's number format on its device.

    Raises:
        UsageError: it does not.
    """
    known = backend.dtypes(execution.device)
    if execution.dtype not in known:
        what = f"{backend.name} has no dtype {execution.dtype!r} on {execution.device}"
        raise UsageError(f"{what}; it has: {', '.join(known)}")


def check_state(model: Model, state: State) -> None:
    """Check that ``state`` can be carried: an array (layers, B, H) for each state of the cell, all of one B.

    Raises:
        UsageError: a shape is another, or their number is.
    """
    shapes = [np.shape(part) for part in state]
    sizes = {shape[1] for shape in shapes if len(shape) > 1}
    expected = {(model.layers, size, model.hidden) for size in sizes}
    if len(shapes) != len(model.cell.states) or len(expected) != 1 or set(shapes) != expected:
        names = ", ".join(model.cell.states)
        raise UsageError(
            f"a state of {model.cell.name} is ({names}), each ({model.layers}, B, {model.hidden}), not {shapes}"
        )
