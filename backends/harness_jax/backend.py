"""What the JAX backend says of itself. No jax import at the top: ``harness list`` must stay fast without it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from harness.cells import GRU, LSTM, RNN
from harness.contract import (
    Array,
    Available,
    Backend,
    Cell,
    Dtype,
    Execution,
    LinearCell,
    Missing,
    Model,
    Optimizer,
    Parameters,
    Trainer,
    Trial,
    UnavailableError,
    UnsupportedError,
    check_variant,
    may_have_accelerator,
)
from harness_jax.cache import cache_variables
from harness_jax.cpu_devices import CPU_DEVICES
from harness_native import (
    native_is_built,
    native_missing,
    native_unsupported,
    native_variants,
    native_versions,
    settle_native,
    xla_recipe,
)

FIX = 'pip install "rnn-harness[jax]"   (that is the CPU build; for NVIDIA GPUs: pip install "jax[cuda12]" optax)'
LIBRARIES = ("jax", "jaxlib", "optax")
DEER_CELLS: tuple[type[Cell], ...] = (RNN, LSTM, GRU)
DEER_STATE = 32  # numbers of state per sequence and layer
POOL = "tf_XLAEigen"  # the name of the threads that share XLA's CPU work


class JaxBackend(Backend):
    """JAX on the CPU or an NVIDIA GPU.

    ``scan``: ``lax.scan`` over any cell's ``step``, differentiated by JAX. ``fused``: hand-derived
    BPTT of any cell, a ``custom_vjp`` per layer. ``parallel``: cells that are linear in their
    state, all time steps at once by an associative scan. ``deer``: rnn, lstm and gru of small
    state, all time steps at once by Newton's method. ``native``: the C kernel of
    ``harness_native``, on the CPU, where it can be built.
    """

    name = "jax"
    checkpoints = True
    data_parallel = True

    def availability(self) -> Available | Missing:
        """Look for the libraries without importing them."""
        for library in LIBRARIES:
            if find_spec(library) is None:
                return Missing(f"{library} is not installed", FIX)
            try:
                version(library)
            except PackageNotFoundError:
                return Missing(
                    f"a module named {library} is there, but no installed distribution of it", FIX
                )
        return Available()

    def versions(self) -> dict[str, str]:
        """Return the versions of jax, jaxlib and optax, and the kernel's compiler."""
        return {library: version(library) for library in LIBRARIES} | native_versions()

    def devices(self) -> tuple[str, ...]:
        """Return ``cuda`` (and ``cuda:1``, ... of several) where there is one, then ``cpu``.

        Imports jax only where there can be a GPU.
        """
        if not may_have_accelerator():
            return ("cpu",)
        _check_import()
        from harness_jax.device import devices

        return tuple(devices())

    def variants(self, cell: Cell) -> tuple[str, ...]:
        """Return ``scan`` and ``fused``, which run any cell, and those that run this one."""
        parallel = ("parallel",) if isinstance(cell, LinearCell) else ()
        deer = ("deer",) if type(cell) in DEER_CELLS else ()
        return ("scan", "fused", *parallel, *deer, *native_variants(cell, xla_recipe()))

    def fastest_variant(self, cell: Cell, trial: Trial) -> str:
        """Return the fastest: measured on the CPU; on GPUs by what is published of parallel scans, not measured here.

        A line for each rule, the first that holds: add yours where a measurement says so. The
        kernel is built to find out whether it can be.
        """
        fits = native_unsupported("native", trial.device, trial.dtype) is None
        if fits and "native" in self.variants(cell) and native_is_built(xla_recipe()):
            return "native"
        if isinstance(cell, LinearCell) and (trial.device != "cpu" or trial.batch == 1):
            return "parallel"
        return "fused"

    def dtypes(self, device: str) -> tuple[Dtype, ...]:
        """Return float32, float64 and bfloat16, and on a GPU TF32."""
        everywhere: tuple[Dtype, ...] = ("float32", "float64", "bfloat16")
        return (*everywhere, "tf32") if device.startswith("cuda") else everywhere

    def why_unsupported(self, model: Model, trial: Trial) -> str | None:
        """Say where a variant that is parallel in time, or ``native``, cannot run."""
        return _why_not(model, trial.variant, trial.dtype) or native_unsupported(
            trial.variant, trial.device, trial.dtype
        )

    def missing_variants(self) -> Mapping[str, Missing]:
        """Say why there is no ``native``."""
        return native_missing(xla_recipe())

    def trainer(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> Trainer:
        """Return a trainer.

        Raises:
            UnknownNameError: there is no such variant.
            UnsupportedError: the variant cannot run this model.
            UsageError: the device is not there, or the parameters do not fit the model.
            UnavailableError: jax or optax cannot be imported, or the variant cannot be had here.
        """
        if reason := _why_not(model, execution.variant, execution.dtype):
            raise UnsupportedError(reason)
        if reason := native_unsupported(execution.variant, execution.device, execution.dtype):
            raise UnsupportedError(reason)
        settle_native(execution.variant, model.cell, xla_recipe())
        check_variant(self, model.cell, execution.variant)
        _check_import()
        from harness_jax.network import Network, layer_of
        from harness_jax.trainer import JaxTrainer

        return JaxTrainer(
            Network(model, layer_of(execution), execution), optimizer, parameters, execution
        )

    def environment(self, threads: int, devices: int = 1) -> dict[str, str]:
        """Size XLA's CPU thread pool, leave GPU memory to others until it is needed, log errors only, keep programs.

        ``NPROC`` is what works (measured): the OpenMP count and
        ``--xla_cpu_multi_thread_eigen=false`` change nothing. The pool is shared by the devices
        into which the CPU is divided.
        """
        pool = {"NPROC": str(threads * devices), CPU_DEVICES: str(devices)}
        fixed = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_CPP_MIN_LOG_LEVEL": "2"}
        return pool | fixed | cache_variables()

    def threads(self) -> int | None:
        """Return how many threads of XLA's CPU pool there are for each device into which the CPU is divided.

        None before the pool exists and where it is unknown.
        """
        pool = sum(_first_line(path) == POOL for path in Path("/proc/self/task").glob("*/comm"))
        return pool // int(os.environ.get(CPU_DEVICES, "1")) or None

    def product_chain(
        self, start: Array, matrices: Sequence[Array], execution: Execution
    ) -> Callable[[int], Array]:
        """Return the chain of products in this engine."""
        _check_import()
        from harness_jax.products import product_chain

        return product_chain(start, matrices, execution)

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Recognise XLA's RESOURCE_EXHAUSTED, besides ``MemoryError``."""
        full = isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
        return isinstance(error, MemoryError) or full


def _why_not(model: Model, variant: str, dtype: Dtype) -> str | None:
    """Return why this variant cannot run the model, or None."""
    cell, size = model.cell, model.hidden * len(model.cell.states)
    if variant == "parallel" and not isinstance(cell, LinearCell):
        return (
            f"{cell.name} is not linear in its state, so it has no parallel scan: choose jax:fused"
        )
    if variant != "deer":
        return None
    if type(cell) not in DEER_CELLS:
        return f"jax:deer runs rnn, lstm and gru, not {cell.name}: choose jax:fused"
    if dtype in ("bfloat16", "tf32"):
        return f"jax:deer needs float32 or float64: Newton's method does not converge in {dtype}"
    if size > DEER_STATE:
        return (
            f"jax:deer takes up to {DEER_STATE} numbers of state, not {size} ({len(cell.states)} x hidden "
            f"{model.hidden}): its memory grows with their square and its work with their cube times log T"
        )
    return None


def _first_line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # the thread has ended
        return ""


def _check_import() -> None:
    """Import jax and optax.

    Raises:
        UnavailableError: one is missing or broken.
    """
    try:
        for library in LIBRARIES:
            import_module(library)
    except Exception as error:  # a broken installation may raise anything
        raise UnavailableError(f"jax cannot be imported: {error}. Fix: {FIX}") from error
