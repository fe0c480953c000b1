"""What the JAX backend says of itself. No jax import at the top: ``harness list`` must stay fast without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from harness.contract import (
    Array,
    Available,
    Backend,
    Cell,
    Execution,
    Missing,
    Model,
    Optimizer,
    Parameters,
    Trainer,
    Trial,
    UnavailableError,
    UnknownNameError,
    UnsupportedError,
    may_have_accelerator,
)
from harness_native import native_missing, native_unsupported, native_variants, native_versions

CURE = 'pip install "rnn-harness[jax]"   (that is the CPU build; for NVIDIA GPUs: pip install "jax[cuda12]" optax)'
LIBRARIES = ("jax", "jaxlib", "optax")
POOL = "tf_XLAEigen"  # the name of the threads that share XLA's CPU work


class JaxBackend(Backend):
    """JAX on the CPU or an NVIDIA GPU, in two variants for every cell, and a third.

    ``fused``: hand-derived BPTT, a ``custom_vjp`` per layer. ``scan``: ``lax.scan`` over the cell's ``step``, autodiff.
    ``native``: the C kernel of ``harness_native``, on the CPU, where it can be built.
    """

    name = "jax"

    def availability(self) -> Available | Missing:
        """Look for the libraries without importing them."""
        for library in LIBRARIES:
            if find_spec(library) is None:
                return Missing(f"{library} is not installed", CURE)
            try:
                version(library)
            except PackageNotFoundError:
                return Missing(f"a module named {library} is there, but no installed distribution of it", CURE)
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
        """Return ``fused`` and ``scan``, which run any cell, and ``native`` where the kernel has it."""
        return ("fused", "scan", *native_variants(cell))

    def missing_variants(self) -> Mapping[str, Missing]:
        """Say why there is no ``native``."""
        return native_missing()

    def why_unsupported(self, model: Model, trial: Trial) -> str | None:
        """Say that ``native`` is for the CPU."""
        return native_unsupported(trial.variant, trial.device, trial.dtype)

    def trainer(self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution) -> Trainer:
        """Return a trainer.

        Raises:
            UnknownNameError: there is no such variant.
            UnsupportedError: ``native`` was asked for on a GPU.
            UsageError: the device is not there, or the parameters do not fit the model.
            UnavailableError: jax or optax cannot be imported.
        """
        if execution.variant not in self.variants(model.cell):
            raise UnknownNameError("variant of jax", execution.variant, self.variants(model.cell))
        if reason := native_unsupported(execution.variant, execution.device, execution.dtype):
            raise UnsupportedError(reason)
        _check_import()
        from harness_jax.trainer import JaxTrainer

        return JaxTrainer(model, optimizer, parameters, execution)

    def environment(self, threads: int) -> dict[str, str]:
        """Size XLA's CPU thread pool, leave GPU memory to others until it is needed, and log errors only.

        ``NPROC`` is what works (measured): the OpenMP count and ``--xla_cpu_multi_thread_eigen=false`` change nothing.
        """
        return {"NPROC": str(threads), "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_CPP_MIN_LOG_LEVEL": "2"}

    def threads(self) -> int | None:
        """Return the size of XLA's CPU thread pool in this process, or None before it exists and where unknown."""
        return sum(_first_line(path) == POOL for path in Path("/proc/self/task").glob("*/comm")) or None

    def product_chain(self, start: Array, matrices: Sequence[Array], execution: Execution) -> Callable[[int], Array]:
        """Return the chain of products in this engine."""
        _check_import()
        from harness_jax.products import product_chain

        return product_chain(start, matrices, execution)

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Recognise XLA's RESOURCE_EXHAUSTED, besides ``MemoryError``."""
        full = isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
        return isinstance(error, MemoryError) or full


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
        raise UnavailableError(f"jax cannot be imported: {error}\nCure: {CURE}") from error
