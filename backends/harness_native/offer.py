"""A backend's answers about its variant ``native``.

Only ``build_native`` builds; the others may run ``cc --version``.
"""

from __future__ import annotations

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import Cell, Dtype, Missing, UnavailableError
from harness_native.build import KERNEL, Recipe, build, compiled_by, missing

# The cells that the kernel runs, in the order of their numbers in kernel.h.
CELLS: tuple[type[Cell], ...] = (RNN, ReluRNN, LSTM, GRU)


def native_missing(*others: Recipe) -> Missing | None:
    """Return why the kernel or one of the ``others`` is not available here, or None."""
    reasons = (missing(recipe) for recipe in (KERNEL, *others))
    return next((reason for reason in reasons if reason is not None), None)


def build_native(*others: Recipe) -> bool:
    """Build the kernel and the ``others``; False if one failed: it is missing from then on."""
    try:
        for recipe in (KERNEL, *others):
            build(recipe)
    except UnavailableError:
        return False
    return True


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
