"""A backend: two small classes, ``Backend`` and ``Trainer``. The core calls only their methods.

A backend owns tensors, the time loop, differentiation, the optimizer's arithmetic and the device.
The core owns weights, batches, the definition of the update rule, the clock and the statistics.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from numpy.typing import NDArray

from harness.contract.batch import Batch
from harness.contract.cell import Cell
from harness.contract.dtypes import Dtype
from harness.contract.model import Array, Model, Parameters, State
from harness.contract.optimizer import Optimizer

if TYPE_CHECKING:
    from harness.contract.trial import Trial

DeviceBatch = Any  # whatever ``put`` returns
Scalar = Any  # a lazy scalar: ``float(x)`` waits for it
Snapshot = dict[str, NDArray[Any]]  # what ``Trainer.snapshot`` returns
Checkpoint = Literal["off", "auto"] | int
SHORTEST_CHUNK = 128  # time steps: in a chunk this long, the fixed cost of a chunk is small


@dataclass(frozen=True)
class Available:
    """The backend can run here."""


@dataclass(frozen=True)
class Missing:
    """The backend cannot run here: ``reason`` says what is missing, ``fix`` which command helps."""

    reason: str
    fix: str


@dataclass(frozen=True)
class Execution:
    """How a model is executed: all that may change speed, memory or rounding, but not the function.

    Attributes:
        variant: how the backend executes the cell.
        device: where, such as ``cpu`` or ``cuda``.
        dtype: the number format.
        dropout_seed: seed of the dropout masks.
        threads: how many threads the engine may use; the worker's environment is set before
            anything is imported.
        checkpoint: time steps per chunk of checkpointed BPTT (Chen et al. 2016). The forward pass
            keeps only the states between chunks; the backward pass runs each chunk again.
            ``auto`` takes about sqrt(T), at least 128.
        devices: the number of devices over which each batch is split, B / devices sequences on
            each, with the same weights on all. The loss is the mean over the positions that count
            in the whole batch.
    """

    variant: str
    device: str = "cpu"
    dtype: Dtype = "float32"
    dropout_seed: int = 0
    threads: int = 1
    checkpoint: Checkpoint = "off"
    devices: int = 1

    def chunk(self, time_steps: int) -> int | None:
        """Return the time steps per chunk for a batch of ``time_steps``; None: no checkpointing."""
        if self.checkpoint == "off":
            return None
        if self.checkpoint != "auto":
            return min(self.checkpoint, time_steps)
        chunk = max(SHORTEST_CHUNK, math.ceil(math.sqrt(time_steps)))
        return chunk if chunk < time_steps else None


@dataclass(frozen=True)
class StepResult:
    """The result of one training step, as lazy scalars: fetching one may wait for the device.

    Attributes:
        loss: the mean loss before the update.
        gradient_norm: the global L2 norm over all parameters, before clipping.
        clipped: true (or 1) if clipping changed a gradient.
    """

    loss: Scalar
    gradient_norm: Scalar
    clipped: Scalar = False


@dataclass(frozen=True, eq=False)
class Gradients:
    """Loss and gradients of one batch, without an update.

    Attributes:
        loss: the mean loss.
        parameters: d loss / d parameter by name, in the shapes of ``Model.parameter_shapes``.
        hidden: (layers, T, B, H), d loss / d h_t: the *total* derivative, through all later time
            steps and layers.
        states: the same for each of ``Cell.states``, each (layers, T, B, H), with one axis H more
            for a matrix; the first is ``hidden``. Each state after step t is a separate variable:
            for an lstm, d loss / d c_t goes through c_{t+1} only, because h_t is another variable.
            None: the engine gives only ``hidden``; the harness takes the others from its reference.
    """

    loss: float
    parameters: Parameters
    hidden: Array
    states: tuple[Array, ...] | None = None


@dataclass(frozen=True)
class Placement:
    """Where and how a trainer really computes, read from its tensors and the engine's settings.

    Attributes:
        device: the device of the tensors, named as in a trial.
        dtype: of the parameters.
        matmul_precision: the engine's name for the precision of a float32 matrix product; None if
            the engine has only one.
        devices: the number of devices over which the last batch was really split.
    """

    device: str
    dtype: str
    matmul_precision: str | None = None
    devices: int = 1


@dataclass(frozen=True)
class Rank:
    """One process of a data-parallel trial, as it reports about itself.

    Attributes:
        device: where it computes.
        threads: the number of threads that its engine really uses; None if it cannot tell.
        seconds: spent in training steps since the trainer was built, including waits for the other
            ranks.
    """

    device: str
    threads: int | None
    seconds: float


class Trainer(ABC):
    """One model with its optimizer, on one device or split over several equal devices.

    Every NumPy array returned is a copy in the trainer's dtype (``array_dtype``). Changing it does
    not change the trainer, and further training does not change it.

    Raises:
        UnsupportedError: a method cannot do this; the trial is ``unsupported``.
        DivergedError: a loss or gradient is not finite; the trial is ``diverged``.
        MemoryError: or any error that ``Backend.is_out_of_memory`` accepts: ``out_of_memory``. Any
            other error: ``failed``.
    """

    def compile(self, batch: DeviceBatch) -> bool:
        """Compile the training step for the shape of ``batch``; False: nothing needs compiling."""
        return False

    @abstractmethod
    def put(self, batch: Batch) -> DeviceBatch:
        """Copy a batch to the device in the trainer's dtype. Called outside the timed region."""

    @abstractmethod
    def train_step(self, batch: DeviceBatch) -> StepResult:
        """Do one update; may return before the work is done. The final state is then carried."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until all queued work is done."""

    @abstractmethod
    def outputs(self, batch: DeviceBatch) -> Array:
        """Return logits or predictions (T, B, K), dropout off. The final state is then carried."""

    @abstractmethod
    def gradients(self, batch: DeviceBatch) -> Gradients:
        """Return loss and gradients, dropout off, no update. The carried state does not change."""

    @abstractmethod
    def parameters(self) -> Parameters:
        """Return a copy of the parameters by name."""

    @abstractmethod
    def load(self, parameters: Parameters) -> None:
        """Replace the parameters by copies of these; reset the optimizer's state and step count."""

    @abstractmethod
    def state(self) -> State | None:
        """Return a copy of the carried state; None means zeros.

        Each is (layers, B, H), or (layers, B, H, H) for a matrix.
        """

    @abstractmethod
    def load_state(self, state: State | None) -> None:
        """Set the state that the next batch with ``carry=True`` starts from; None means zeros."""

    def snapshot(self) -> Snapshot | None:
        """Return a copy of all that training changes, as named arrays of numbers.

        That is weights, moments and step count of the optimizer, positions of random streams, and
        the carried state. None: the engine cannot; what is interrupted then begins again.
        """
        return None

    def restore(self, snapshot: Snapshot) -> None:
        """Take over the ``snapshot`` of a trainer that was made with the same arguments.

        Further training then equals that of the other trainer to the last bit.
        """
        raise NotImplementedError("restore: this trainer gives no snapshot")

    def peak_memory(self) -> int | None:
        """Return the peak of device memory since the process began, in bytes.

        None: the device has no memory of its own; the harness then measures the process.
        """
        return None

    def placement(self) -> Placement | None:
        """Return where the work is really done; None if the engine cannot tell."""
        return None

    def compilations(self) -> int | None:
        """Return how often this process has compiled so far; None if the engine never compiles."""
        return None

    def ranks(self) -> tuple[Rank, ...]:
        """Return a report of each process of a data-parallel trainer; () if there is only one."""
        return ()


class Backend(ABC):
    """A framework that trains models. ``__init__`` and ``availability`` import nothing heavy.

    Attributes:
        groups: names of groups of backends that this backend belongs to, such as ``peers``.
        checkpoints: whether its trainers support ``Execution.checkpoint``.
        embeddings: whether its trainers support ``Model.embedding`` and ``Model.tied_readout``.
        data_parallel: whether its trainers support ``Execution.devices``.
        rule_options: which of ``optimizer.RULE_OPTIONS`` its trainers honour; a trial that sets
            another is ``unsupported``.
        own_layers: the variant that runs the framework's own layers.
        languages: names of what ``source`` writes, such as ``c``.
    """

    name: ClassVar[str]
    groups: ClassVar[tuple[str, ...]] = ()
    checkpoints: ClassVar[bool] = False
    embeddings: ClassVar[bool] = False
    data_parallel: ClassVar[bool] = False
    rule_options: ClassVar[tuple[str, ...]] = ()
    own_layers: ClassVar[str | None] = None
    languages: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def availability(self) -> Available | Missing:
        """Return whether this backend can run here; import nothing heavy to answer ``Missing``."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Return distribution name -> version of each library that does the work."""

    def devices(self) -> tuple[str, ...]:
        """Return the usable devices; ``--device auto`` takes the first."""
        return ("cpu",)

    @abstractmethod
    def variants(self, cell: Cell) -> tuple[str, ...]:
        """Return the variants that can execute ``cell`` here, the plainest first."""

    def all_variants(self) -> tuple[str, ...] | None:
        """Return the variants that can execute some cell here, the plainest first.

        ``harness list`` asks, so that it need not trace cells. None: it asks ``variants`` for each.
        """
        return None

    def missing_variants(self) -> Mapping[str, Missing]:
        """Return the variants that exist but cannot run here, each with the reason and the fix."""
        return {}

    def reference_variant(self, cell: Cell) -> str:
        """Return the variant that proofs take in float64 if this backend is the reference.

        ``trainer`` takes it; ``variants`` need not list it.
        """
        return self.variants(cell)[0]

    def source(self, cell: Cell, language: str) -> str:
        """Return the code that the backend generates for a cell, in one of its ``languages``.

        Raises:
            UnsupportedError: it generates none for this cell; the message says why.
        """
        raise NotImplementedError

    def default_variant(self, cell: Cell, trial: Trial) -> str:
        """Return the variant to take if none is named: what users of the framework would run.

        Args:
            cell: the cell to execute.
            trial: hidden, batch, layers, length, device, dtype and threads; its variant is not set
                yet.
        """
        return self.variants(cell)[0]

    def fastest_variant(self, cell: Cell, trial: Trial) -> str:
        """Return the fastest variant for this cell and size, for ``BACKEND:fastest``.

        The arguments are those of ``default_variant``.
        """
        return self.default_variant(cell, trial)

    def dtypes(self, device: str) -> tuple[Dtype, ...]:
        """Return the dtypes that trainers on ``device`` support."""
        return ("float32", "float64")

    def deviation(self, cell: Cell, variant: str) -> str | None:
        """Return one sentence: how this variant differs from the cell's equations. None: it agrees.

        A trial of a variant that differs is marked, and its gradients are not compared with the
        reference.
        """
        return None

    def why_unsupported(self, model: Model, trial: Trial) -> str | None:
        """Return why this model or trial cannot run here; None if it can."""
        return None

    @abstractmethod
    def trainer(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> Trainer:
        """Return a trainer that starts from ``parameters`` (float64), copied and cast.

        Raises:
            UnsupportedError: the model or the execution cannot run; the message says why.
        """

    def product_chain(
        self, start: Array, matrices: Sequence[Array], execution: Execution
    ) -> Callable[[int], Array] | None:
        """Return a function ``run(rounds)`` that computes a chain of matrix products.

        x begins as ``start`` (B, K). A round multiplies x by each of ``matrices`` in turn from the
        right, so each product must wait for the previous product; the last matrix has K columns.
        ``run`` returns a copy of the final x in the execution's dtype. The harness times it to
        measure the engine's rate of large products, and of the chain of products that a recurrence
        cannot avoid. None: these limits stay unknown.
        """
        return None

    def environment(self, threads: int, devices: int = 1) -> dict[str, str]:
        """Return the environment variables that limit a worker's threads; set before any import.

        The core sets the OpenMP, OpenBLAS and MKL counts for every backend itself. ``devices`` is
        passed only to a ``data_parallel`` backend, and only if it is not 1. Several threads may
        call this method at the same time.
        """
        return {}

    def threads(self) -> int | None:
        """Return the threads per device that the engine really uses; None: the core asks BLAS."""
        return None

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Return whether ``error`` means that memory ran out."""
        return isinstance(error, MemoryError)
