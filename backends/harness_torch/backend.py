"""What the PyTorch backend says of itself. No torch import at the top: ``harness list`` must stay fast without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import ModuleType

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
    UsageError,
    check_dtype,
    check_variant,
    may_have_accelerator,
)
from harness_native import (
    native_is_built,
    native_missing,
    native_unsupported,
    native_variants,
    native_versions,
    settle_native,
)
from harness_torch.recurrence.toolchain import COMPILER_FIX, why_no_compiler
from harness_torch.variants import LIBRARY_CELLS, fastest

FIX = (
    'pip install "rnn-harness[torch]"   '
    "(CPU build: add --index-url https://download.pytorch.org/whl/cpu; CUDA builds: see pytorch.org)"
)


class TorchBackend(Backend):
    """PyTorch on the CPU or an NVIDIA GPU, in up to six variants.

    ``library``: ``torch.nn.RNN``, ``LSTM`` or ``GRU``, where one computes the cell (oneDNN or cuDNN
    underneath). ``fused``: hand-derived BPTT, with kernels of few operations for the cells that
    come with the harness. ``parallel``: all time steps at once by an associative scan, for cells
    that are linear in their state. ``loop``: any cell's ``step`` under autograd. ``compiled``:
    ``torch.compile`` of a few time steps of any cell, forwards and backwards. ``native``: the C
    kernel of ``harness_native``, on the CPU, where it can be built.
    """

    name = "torch"
    checkpoints = True
    data_parallel = True
    own_layers = "library"

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
        """Return torch's version, whose suffix names the build (``+cpu``, ``+cu130``), and the kernel's compiler."""
        return {"torch": version("torch"), **native_versions()}

    def devices(self) -> tuple[str, ...]:
        """Return ``cuda`` (and ``cuda:1``, ... of several) where there is one, then ``cpu``.

        Imports torch only where there can be a GPU.
        """
        if not may_have_accelerator():
            return ("cpu",)
        torch = _torch()
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return (*("cuda" if index == 0 else f"cuda:{index}" for index in range(count)), "cpu")

    def variants(self, cell: Cell) -> tuple[str, ...]:
        """Return ``library`` first if ``torch.nn`` has the cell; ``loop`` and ``fused`` run every cell.

        ``parallel`` runs cells that are linear in their state.
        """
        library = ("library",) if type(cell) in LIBRARY_CELLS else ()
        parallel = ("parallel",) if isinstance(cell, LinearCell) else ()
        compiled = ("compiled",) if why_no_compiler() is None else ()
        return (*library, "loop", "fused", *parallel, *compiled, *native_variants(cell))

    def fastest_variant(self, cell: Cell, trial: Trial) -> str:
        """Return the variant that was measured fastest for this cell and size.

        Where that is ``native``, the kernel is built to find out whether it can be.
        """
        chosen = fastest(cell, trial, self.variants(cell))
        if chosen == "native" and not native_is_built():
            return fastest(cell, trial, self.variants(cell))  # from which it is missing now
        return chosen

    def dtypes(self, device: str) -> tuple[Dtype, ...]:
        """Return float32, float64 and bfloat16, and on a GPU TF32."""
        everywhere: tuple[Dtype, ...] = ("float32", "float64", "bfloat16")
        return (*everywhere, "tf32") if device.startswith("cuda") else everywhere

    def missing_variants(self) -> Mapping[str, Missing]:
        """Return ``compiled`` where what ``torch.compile`` builds with is not there, and ``native`` likewise."""
        reason = why_no_compiler()
        compiled = {} if reason is None else {"compiled": Missing(reason, COMPILER_FIX)}
        return {**compiled, **native_missing()}

    def why_unsupported(self, model: Model, trial: Trial) -> str | None:
        """Say that ``library`` lacks a cell which ``torch.nn`` does not have, or that ``native`` is for the CPU."""
        return self._why_no_variant(model.cell, trial.variant) or native_unsupported(
            trial.variant, trial.device, trial.dtype
        )

    def trainer(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> Trainer:
        """Return a trainer.

        Raises:
            UnknownNameError: there is no such variant.
            UnsupportedError: ``library`` has no such cell.
            UsageError: the device or dtype is not there, or the parameters do not fit the model.
            UnavailableError: torch cannot be imported, or the variant cannot be had here.
        """
        _torch()
        why = self._why_no_variant(model.cell, execution.variant)
        if reason := why or native_unsupported(
            execution.variant, execution.device, execution.dtype
        ):
            raise UnsupportedError(reason)
        settle_native(execution.variant, model.cell)
        check_variant(self, model.cell, execution.variant)
        devices = self.devices()
        if execution.device not in devices and not (
            execution.device == "cuda:0" and "cuda" in devices
        ):
            raise UsageError(
                f"torch has no device {execution.device!r} here; it has: {', '.join(devices)}"
            )
        check_dtype(self, execution)
        if execution.devices > 1:
            from harness_torch.parallel.data_parallel import DataParallelTrainer

            return DataParallelTrainer(model, optimizer, parameters, execution)
        from harness_torch.trainer import TorchTrainer

        return TorchTrainer(model, optimizer, parameters, execution)

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
        """Recognise the caching allocator's error and the CPU allocator's, besides ``MemoryError``."""
        names = {kind.__name__ for kind in type(error).__mro__}
        full = (
            isinstance(error, RuntimeError)
            and "DefaultCPUAllocator: " in str(error)
            and "memory" in str(error)
        )
        return isinstance(error, MemoryError) or "OutOfMemoryError" in names or full

    @staticmethod
    def _why_no_variant(cell: Cell, variant: str) -> str | None:
        if variant == "library" and type(cell) not in LIBRARY_CELLS:
            return f"torch.nn has no {cell.name}: choose torch:fused or torch:loop"
        if variant == "parallel" and not isinstance(cell, LinearCell):
            return f"{cell.name} is not linear in its state, so it has no parallel scan: choose torch:fused"
        return None


def _torch() -> ModuleType:
    """Import torch.

    Raises:
        UnavailableError: it is missing or broken.
    """
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of a broken installation
        raise UnavailableError(f"torch cannot be imported: {error}. Fix: {FIX}") from error
    return torch
