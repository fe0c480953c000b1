"""The PyTorch backend's metadata. No torch import at the top: ``harness list`` must stay fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType

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
    UsageError,
    check_dtype,
    check_variant,
    may_have_accelerator,
)
from harness.contract.errors import with_fix
from harness_native import native_versions
from harness_torch.variants import VARIANTS, fastest, no_fused

FIX = (
    'pip install "rnn-harness[torch]"   '
    "(CPU build: add --index-url https://download.pytorch.org/whl/cpu; "
    "CUDA builds: see pytorch.org)"
)


class TorchBackend(Backend):
    """PyTorch on the CPU or an NVIDIA GPU, in the variants of ``harness_torch.variants``."""

    name = "torch"
    checkpoints = True
    embeddings = True
    data_parallel = True
    rule_options = RULE_OPTIONS
    languages = ("torch",)
    own_layers = next(name for name, variant in VARIANTS.items() if variant.library_layers)

    def availability(self) -> Available | Missing:
        """Look for torch without importing it."""
        if find_spec("torch") is None:
            return Missing("PyTorch is not installed", FIX)
        try:
            version("torch")
        except PackageNotFoundError:
            return Missing(
                "a module named torch is there, but no installed distribution of PyTorch", FIX
            )
        return Available()

    def versions(self) -> dict[str, str]:
        """Return torch's version with its build (``+cpu``, ``+cu130``), and the C compiler."""
        return {"torch": version("torch"), **native_versions()}

    def source(self, cell: Cell, language: str) -> str:
        """Return the code of the variant ``fused``."""
        from harness_torch.written.emit import source

        if reason := no_fused(cell):
            raise UnsupportedError(reason)
        return source(cell)

    def devices(self) -> tuple[str, ...]:
        """Return ``cuda`` (and ``cuda:1``, ... of several) if there is one, then ``cpu``.

        Imports torch only if there can be a GPU.
        """
        if not may_have_accelerator():
            return ("cpu",)
        torch = _torch()
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return (*("cuda" if index == 0 else f"cuda:{index}" for index in range(count)), "cpu")

    def variants(self, cell: Cell) -> tuple[str, ...]:
        """Return the variants that run the cell here, ``library`` first."""
        return tuple(name for name, variant in VARIANTS.items() if variant.runs(cell))

    def fastest_variant(self, cell: Cell, trial: Trial) -> str:
        """Return the variant measured fastest for this cell and size; build it if needed."""
        chosen = fastest(cell, trial, self.variants(cell))
        if VARIANTS[chosen].build(cell):
            return chosen
        return fastest(cell, trial, self.variants(cell))  # now without the chosen one

    def dtypes(self, device: str) -> tuple[Dtype, ...]:
        """Return float32, float64 and bfloat16, and on a GPU TF32."""
        everywhere: tuple[Dtype, ...] = ("float32", "float64", "bfloat16")
        return (*everywhere, "tf32") if device.startswith("cuda") else everywhere

    def all_variants(self) -> tuple[str, ...]:
        """Return the variants that run some cell here."""
        return tuple(name for name, variant in VARIANTS.items() if variant.missing() is None)

    def missing_variants(self) -> Mapping[str, Missing]:
        """Return the variants that lack something here, such as a compiler."""
        reasons = {name: variant.missing() for name, variant in VARIANTS.items()}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def why_unsupported(self, model: Model, trial: Trial) -> str | None:
        """Say why the trial's variant cannot run this model, on this device or in this dtype."""
        return _why_unsupported(model, trial.variant, trial.device, trial.dtype)

    def trainer(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> Trainer:
        """Return a trainer.

        Raises:
            UnknownNameError: there is no such variant.
            UnsupportedError: the variant cannot run this model, on this device or in this dtype.
            UsageError: the device or dtype is not there, or the parameters do not fit the model.
            UnavailableError: torch cannot be imported, or the variant is not available here.
        """
        _torch()
        variant = execution.variant
        if reason := _why_unsupported(model, variant, execution.device, execution.dtype):
            raise UnsupportedError(reason)
        if variant in self.variants(model.cell):
            VARIANTS[variant].build(model.cell)  # if that fails, the check says why
        check_variant(self, model.cell, variant)
        self.check_device(execution.device)
        check_dtype(self, execution)
        if execution.devices > 1:
            from harness_torch.parallel.data_parallel import DataParallelTrainer

            return DataParallelTrainer(model, optimizer, parameters, execution)
        from harness_torch.trainer import TorchTrainer

        return TorchTrainer(model, optimizer, parameters, execution)

    def check_device(self, device: str) -> None:
        """Check that torch has this device; ``cuda:0`` is ``cuda``.

        Raises:
            UsageError: it has not.
        """
        devices = self.devices()
        if device not in devices and not (device == "cuda:0" and "cuda" in devices):
            raise UsageError(f"torch has no device {device!r} here; it has: {', '.join(devices)}")

    def threads(self) -> int:
        """Return the number of threads of torch's CPU operations."""
        return int(_torch().get_num_threads())

    def product_chain(
        self, start: Array, matrices: Sequence[Array], execution: Execution
    ) -> Callable[[int], Array]:
        """Return the chain of products in this engine."""
        _torch()
        from harness_torch.products import product_chain

        return product_chain(start, matrices, execution)

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Recognise ``MemoryError`` and the errors of torch's allocators on GPU and CPU."""
        names = {kind.__name__ for kind in type(error).__mro__}
        if isinstance(error, MemoryError) or "OutOfMemoryError" in names:
            return True
        message = str(error) if isinstance(error, RuntimeError) else ""
        return "DefaultCPUAllocator: " in message and "memory" in message


def _why_unsupported(model: Model, variant: str, device: str, dtype: Dtype) -> str | None:
    try:
        return VARIANTS[variant].unsupported(model, device, dtype) if variant in VARIANTS else None
    except UnsupportedError as error:  # the step cannot be traced
        return str(error)


def _torch() -> ModuleType:
    """Import torch.

    Raises:
        UnavailableError: it is missing or broken.
    """
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of a broken installation
        raise UnavailableError(with_fix(f"torch cannot be imported: {error}", FIX)) from error
    return torch
