"""What every backend must refuse in the same words, before it builds or changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from harness.contract.backend import Backend, Execution, Missing
from harness.contract.cell import Cell
from harness.contract.errors import UnavailableError, UnknownNameError, UsageError
from harness.contract.model import Model, State


def check_variant(backend: Backend, cell: Cell, variant: str) -> None:
    """Check that the backend can execute ``cell`` so, here.

    Raises:
        UnavailableError: it knows the variant but cannot offer it here; with the reason and the
            fix.
        UnknownNameError: there is no such variant.
    """
    offered = backend.variants(cell)
    if variant not in offered:
        raise variant_error(backend.name, variant, offered, backend.missing_variants())


def variant_error(
    backend: str, variant: str, offered: Iterable[str], missing: Mapping[str, Missing]
) -> UsageError:
    """Return why a variant is none of those on offer: it is missing here, with the fix, or there is none such."""
    if (absent := missing.get(variant)) is not None:
        return UnavailableError(
            f"{backend}:{variant} cannot run here: {absent.reason}. Fix: {absent.fix}"
        )
    known = {*offered, *missing}
    return UnknownNameError(
        f"variant of backend {backend!r}:", variant, known, "harness list backends"
    )


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
