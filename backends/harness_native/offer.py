"""What a backend says of its variant ``native``. ``cc --version`` may be run.

Only ``native_is_built`` and ``settle_native`` build.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import Cell, Dtype, Missing, UnavailableError
from harness_native.build import KERNEL, Recipe, build, compiled_by, missing

CELLS: tuple[type[Cell], ...] = (
    RNN,
    ReluRNN,
    LSTM,
    GRU,
)  # whose equations the kernel has, as numbered in kernel.h


def native_variants(cell: Cell, *besides: Recipe) -> tuple[str, ...]:
    """Return ``native`` where the kernel has the cell, and it and what is needed ``besides`` can be had here."""
    return ("native",) if type(cell) in CELLS and not native_missing(*besides) else ()


def native_missing(*besides: Recipe) -> Mapping[str, Missing]:
    """Return why there is no ``native`` here, if so."""
    reasons = (missing(recipe) for recipe in (KERNEL, *besides))
    reason = next((reason for reason in reasons if reason is not None), None)
    return {} if reason is None else {"native": reason}


def native_is_built(*besides: Recipe) -> bool:
    """Say whether ``native`` can be had here, by building what is not there; if not, it is missing from now on."""
    try:
        for recipe in (KERNEL, *besides):
            build(recipe)
    except UnavailableError:
        return False
    return True


def settle_native(variant: str, cell: Cell, *besides: Recipe) -> None:
    """Build ``native`` where it is taken and on offer: if it cannot be, it is missing from now on, as a check says."""
    if variant == "native" and native_variants(cell, *besides):
        native_is_built(*besides)


def native_versions() -> dict[str, str]:
    """Return which compiler the kernel is built by, if it can be had."""
    compiler = compiled_by()
    return {} if compiler is None else {"native": compiler}


def native_unsupported(variant: str, device: str, dtype: Dtype) -> str | None:
    """Say why ``native`` cannot run there; None where it can, and for every other variant."""
    if variant != "native":
        return None
    if device not in {"cpu", "auto"}:
        return f"the variant native runs on the device cpu only, not on {device}"
    return (
        None
        if dtype in {"float32", "float64"}
        else "the variant native computes in float32 and float64 only"
    )
