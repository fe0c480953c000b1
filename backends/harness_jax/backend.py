"""The JAX backend's metadata. No jax import at the top: ``harness list`` must stay fast."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from harness.contract import (
    RULE_OPTIONS,
    Array,
    Available,
    Backend,
    Cell,
    Dtype,
    Execution,
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
from harness.contract.errors import with_fix
from harness_jax.cache import cache_variables
from harness_jax.cpu_devices import CPU_DEVICES
from harness_jax.variants import VARIANTS, fastest, no_fused
from harness_native import native_versions

FIX = (
    'pip install "rnn-harness[jax]"   '
    '(that is the CPU build; for NVIDIA GPUs: pip install "jax[cuda12]" optax)'
)
LIBRARIES = ("jax", "jaxlib", "optax")
POOL = "tf_XLAEigen"  # the name of the threads that share XLA's CPU work


class JaxBackend(Backend):
    """JAX on the CPU or an NVIDIA GPU, in the variants of ``harness_jax.variants``."""

    name = "jax"
    checkpoints = True
    embeddings = True
    data_parallel = True
    rule_options = RULE_OPTIONS
    languages = ("jax",)

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

    def source(self, cell: Cell, language: str) -> str:
        """Return what the variant ``fused`` computes."""
        from harness_jax.recurrence.plan import source

        if reason := no_fused(cell):
            raise UnsupportedError(reason)
        return source(cell)

    def versions(self) -> dict[str, str]:
        """Return the versions of jax, jaxlib and optax, and the kernel's compiler."""
        return {library: version(library) for library in LIBRARIES} | native_versions()

    def devices(self) -> tuple[str, ...]:
        """Return ``cuda`` (and ``cuda:1``, ... of several) if there is one, then ``cpu``.

        Imports jax only if there can be a GPU.
        """
        if not may_have_accelerator():
            return ("cpu",)
        _check_import()
        from harness_jax.device import devices

        return tuple(devices())

    def variants(self, cell: Cell) -> tuple[str, ...]:
        """Return the variants that run the cell here, ``scan`` first."""
        return tuple(name for name, variant in VARIANTS.items() if variant.runs(cell))

    def fastest_variant(self, cell: Cell, trial: Trial) -> str:
        """Return the variant expected to be fastest for this cell and size; build it if needed."""
        chosen = fastest(trial, self.variants(cell))
        if VARIANTS[chosen].build(cell):
            return chosen
        return fastest(trial, self.variants(cell))  # now without the chosen one

    def dtypes(self, device: str) -> tuple[Dtype, ...]:
        """Return float32, float64 and bfloat16, and on a GPU TF32."""
        everywhere: tuple[Dtype, ...] = ("float32", "float64", "bfloat16")
        return (*everywhere, "tf32") if device.startswith("cuda") else everywhere

    def why_unsupported(self, model: Model, trial: Trial) -> str | None:
        """Say why the trial's variant cannot run this model, on this device or in this dtype."""
        return _why_unsupported(model, trial.variant, trial.device, trial.dtype)

    def all_variants(self) -> tuple[str, ...]:
        """Return the variants that run some cell here."""
        return tuple(name for name, variant in VARIANTS.items() if variant.missing() is None)

    def missing_variants(self) -> Mapping[str, Missing]:
        """Return the variants that lack something here, such as a compiler."""
        reasons = {name: variant.missing() for name, variant in VARIANTS.items()}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def trainer(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> Trainer:
        """Return a trainer.

        Raises:
            UnknownNameError: there is no such variant.
            UnsupportedError: the variant cannot run this model, on this device or in this dtype.
            UsageError: the device is not there, or the parameters do not fit the model.
            UnavailableError: jax or optax cannot be imported, or the variant is not available.
        """
        variant = execution.variant
        if reason := _why_unsupported(model, variant, execution.device, execution.dtype):
            raise UnsupportedError(reason)
        if variant in self.variants(model.cell):
            VARIANTS[variant].build(model.cell)  # if that fails, the check says why
        check_variant(self, model.cell, variant)
        _check_import()
        from harness_jax.network import Network
        from harness_jax.trainer import JaxTrainer

        return JaxTrainer(Network(model, execution), optimizer, parameters, execution)

    def environment(self, threads: int, devices: int = 1) -> dict[str, str]:
        """Set XLA's threads, preallocation of GPU memory, log level and program cache.

        Only ``NPROC`` has an effect (measured), not the OpenMP count or
        ``--xla_cpu_multi_thread_eigen=false``. All devices of a divided CPU share the pool.
        """
        pool = {"NPROC": str(threads * devices), CPU_DEVICES: str(devices)}
        fixed = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_CPP_MIN_LOG_LEVEL": "2"}
        return pool | fixed | cache_variables()

    def threads(self) -> int | None:
        """Return the threads of XLA's CPU pool, per device of a divided CPU.

        None if the pool does not exist yet, or is unknown.
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
        """Recognise ``MemoryError`` and XLA's RESOURCE_EXHAUSTED."""
        full = isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
        return isinstance(error, MemoryError) or full


def _why_unsupported(model: Model, variant: str, device: str, dtype: Dtype) -> str | None:
    try:
        return VARIANTS[variant].unsupported(model, device, dtype) if variant in VARIANTS else None
    except UnsupportedError as error:  # the step cannot be traced
        return str(error)


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
        raise UnavailableError(with_fix(f"jax cannot be imported: {error}", FIX)) from error
