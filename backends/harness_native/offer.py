"""A backend's answers about its variant ``native``.

Only ``build_native`` builds; the others may run ``cc --version``.
"""

from __future__ import annotations

from harness.contract import Cell, Dtype, Missing, UnavailableError, UnsupportedError
from harness_native.build import KERNEL, Recipe, build, compiled_by, missing


def native_runs(cell: Cell) -> bool:
    """Say whether the kernel can run a cell."""
    return native_refusal(cell) is None


def native_refusal(cell: Cell) -> str | None:
    """Return why the kernel cannot run a cell, or None."""
    from harness_native.plan import plan_of

    try:
        plan_of(cell)
    except UnsupportedError as error:
        return str(error)
    return None


def native_missing(*others: Recipe) -> Missing | None:
    """Return why the kernel or one of the ``others`` is not available here, or None."""
    reasons = (missing(recipe) for recipe in (KERNEL, *others))
    return next((reason for reason in reasons if reason is not None), None)


def build_native(cell: Cell, *others: Recipe) -> bool:
    """Build the kernel, the ``others`` and a cell; False if one failed.

    The kernel and the others are missing from then on.
    """
    from harness_native.emit import cell_recipe

    try:
        for recipe in (KERNEL, *others, cell_recipe(cell)):
            build(recipe)
    except UnavailableError:
        return False
    return True


def native_source(cell: Cell) -> str:
    """Return the C code of a cell.

    Raises:
        UnsupportedError: the kernel cannot run the cell.
    """
    from harness_native.emit import source

    return source(cell)


def native_versions() -> dict[str, str]:
    """Return the compiler that builds the kernel, if it is available."""
    compiler = compiled_by()
    return {} if compiler is None else {"native": compiler}


def native_unsupported(device: str, dtype: Dtype) -> str | None:
    """Say why ``native`` cannot run on this device in this dtype; None if it can."""
    if device not in {"cpu", "auto"}:
        return f"the variant native runs on the device cpu only, not on {device}"
    if dtype not in {"float32", "float64"}:
        return "the variant native computes in float32 and float64 only"
    return None
