"""The only list of this backend's variants. To add one, write its module and an entry here.

No jax is imported before a variant is used, and no cell traced before ``takes`` is asked:
``harness list`` must stay fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.contract import Cell, Dtype, Missing, Model, Trial, UnsupportedError
from harness_native import (
    build_native,
    native_missing,
    native_refusal,
    native_runs,
    native_unsupported,
    xla_recipe,
)

if TYPE_CHECKING:
    from jax import Array

    from harness_jax.traced import States

    # See ``harness_jax.recurrence.scan.scan``.
    Layer = Callable[[Cell, Array, Mapping[str, Array], States, Array | None], tuple[Array, States]]

KINKS = {"relu", "maximum", "absolute", "positive"}  # where Newton's method may not converge
DEER_STATE = 32  # numbers of state per sequence and layer


@dataclass(frozen=True)
class Engine:
    """The parts that a network takes from a variant.

    Attributes:
        layer: makes the function of a layer, for a number of threads.
        may_fail: whether a step may fail while it runs, so that the trainer waits for each.
        in_blocks: whether a CPU trains faster if it takes a few time steps at once.
    """

    layer: Callable[[int], Layer]
    may_fail: bool = False
    in_blocks: bool = False


@dataclass(frozen=True)
class Variant:
    """A way of executing some cells.

    Attributes:
        engine: imports what the variant needs, and returns the parts.
        takes: whether it has the equations of a cell.
        unsupported: says why it cannot run a model on a device in a dtype, or returns None.
        missing: says why it is not available here, without importing it, or returns None.
        build: builds what it needs for a cell; False if that failed: then ``missing`` says why.
    """

    engine: Callable[[], Engine]
    takes: Callable[[Cell], bool] = lambda _cell: True
    unsupported: Callable[[Model, str, Dtype], str | None] = lambda _model, _device, _dtype: None
    missing: Callable[[], Missing | None] = lambda: None
    build: Callable[[Cell], bool] = lambda _cell: True

    def runs(self, cell: Cell) -> bool:
        """Say whether the variant can execute ``cell`` here."""
        try:
            return self.takes(cell) and self.missing() is None
        except UnsupportedError:  # its step cannot be traced: a trial of it says why
            return False


def _scan() -> Engine:
    from harness_jax.recurrence.scan import scan

    return Engine(lambda _threads: scan)


def _fused() -> Engine:
    from harness_jax.recurrence.fused import fused

    return Engine(lambda _threads: fused, in_blocks=True)


def _parallel() -> Engine:
    from harness_jax.recurrence.parallel import parallel

    return Engine(lambda _threads: parallel)


def _deer() -> Engine:
    from harness_jax.recurrence.deer import deer

    return Engine(lambda _threads: deer, may_fail=True)  # Newton's method may not converge


def _native() -> Engine:
    from harness_jax.recurrence.native import native_on

    return Engine(native_on)


def _is_linear(cell: Cell) -> bool:
    from harness.recurrence import derive

    return derive(cell).linear is not None


def _not_linear(model: Model, _device: str, _dtype: Dtype) -> str | None:
    if _is_linear(model.cell):
        return None
    name = model.cell.name
    return f"{name} is not linear in its state, so it has no parallel scan: choose jax:fused"


def _has_fused(cell: Cell) -> bool:
    return no_fused(cell) is None


def no_fused(cell: Cell) -> str | None:
    """Return why the variant ``fused`` cannot run a cell, or None."""
    from harness.recurrence import derive

    return derive(cell).matrix_refusal("jax:fused")


def _has_deer(cell: Cell) -> bool:
    return _no_deer(cell) is None


def _no_deer(cell: Cell) -> str | None:
    if not cell.products:
        return "it has no product of a state, so a Jacobian of all units is wasted on it"
    from harness.recurrence import derive, reachable

    recurrence = derive(cell)
    if reason := recurrence.matrix_refusal("Newton's method here"):
        return reason
    nodes = reachable([*recurrence.after, *recurrence.operands])
    kinks = sorted({node.op for node in nodes} & KINKS)
    return f"its step has a kink ({', '.join(kinks)})" if kinks else None


def _not_for_deer(model: Model, _device: str, dtype: Dtype) -> str | None:
    cell, size = model.cell, model.hidden * len(model.cell.states)
    if reason := _no_deer(cell):
        return f"jax:deer does not run {cell.name}, since {reason}: choose jax:fused"
    if dtype in ("bfloat16", "tf32"):
        return f"jax:deer needs float32 or float64: Newton's method does not converge in {dtype}"
    if size > DEER_STATE:
        return (
            f"jax:deer takes up to {DEER_STATE} numbers of state, not {size} "
            f"({len(cell.states)} x hidden {model.hidden}): its memory grows with their square "
            "and its work with their cube times log T"
        )
    return None


def _not_native(model: Model, device: str, dtype: Dtype) -> str | None:
    return native_refusal(model.cell) or native_unsupported(device, dtype)


# ``scan``: ``lax.scan`` over the cell's ``step``, differentiated by JAX. ``fused``: derived
# BPTT, one ``custom_vjp`` per layer. ``parallel``: all time steps at once by an associative scan.
# ``deer``: all time steps at once by Newton's method. ``native``: the C kernel of
# ``harness_native``.
VARIANTS: Mapping[str, Variant] = {  # the plainest first
    "scan": Variant(_scan),
    "fused": Variant(_fused, _has_fused, lambda model, _device, _dtype: no_fused(model.cell)),
    "parallel": Variant(_parallel, _is_linear, _not_linear),
    "deer": Variant(_deer, _has_deer, _not_for_deer),
    "native": Variant(
        _native,
        native_runs,
        _not_native,
        lambda: native_missing(xla_recipe()),
        lambda cell: build_native(cell, xla_recipe()),
    ),
}

# When a variant is the fastest. The first that is available and fits decides. Measured on the CPU;
# on GPUs by what is published of parallel scans, not measured here.
FASTEST: Mapping[str, Callable[[Trial], bool]] = {
    "native": lambda trial: native_unsupported(trial.device, trial.dtype) is None,
    "parallel": lambda trial: trial.device != "cpu" or trial.batch == 1,
    "fused": lambda _trial: True,
    "scan": lambda _trial: True,
}


def fastest(trial: Trial, offered: Sequence[str]) -> str:
    """Return the variant of those ``offered`` that ``jax:fastest`` takes."""
    return next(name for name, fits in FASTEST.items() if name in offered and fits(trial))
