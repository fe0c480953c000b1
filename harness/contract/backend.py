"""What a backend implements: two small classes. The runner calls these methods and nothing else.

A backend owns tensors, the time loop, differentiation, the optimizer's arithmetic and the device.
The core owns weights, batches, the update rule's definition, the clock and the statistics.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from harness.contract.batch import Batch
from harness.contract.cell import Cell
from harness.contract.dtypes import Dtype
from harness.contract.model import Array, Model, Parameters, State
from harness.contract.optimizer import Optimizer

if TYPE_CHECKING:
    from harness.contract.trial import Trial

DeviceBatch = Any  # whatever ``put`` returns
Scalar = Any  # a lazy scalar: ``float(x)`` waits for it
Checkpoint = Literal["off", "auto"] | int
SHORTEST_CHUNK = 128  # time steps that ``auto`` takes at least: what a chunk costs whatever its length is then little


@dataclass(frozen=True)
class Available:
    """The backend can run here."""


@dataclass(frozen=True)
class Missing:
    """The backend cannot run here: ``reason`` says what is missing, ``fix`` the command that helps."""

    reason: str
    fix: str


@dataclass(frozen=True)
class Execution:
    """How a model is to be executed: everything that may change speed, memory or exactness but not the function.

    Attributes:
        variant: how the backend executes the cell.
        device: where.
        dtype: the number format.
        dropout_seed: seed of the dropout masks.
        threads: how many the engine may use; the worker's environment is set accordingly before
            anything is imported.
        checkpoint: how many time steps make a chunk of checkpointed BPTT (Chen et al. 2016):
            forwards only the states between chunks are kept, backwards each chunk is run again.
            ``auto`` takes about sqrt(T), 128 at least.
        devices: over how many devices of this kind each batch is split, B / devices sequences on
            each, with the same weights on all. The loss stays the mean over the positions that
            count in the whole batch.
    """

    variant: str
    device: str = "cpu"
    dtype: Dtype = "float32"
    dropout_seed: int = 0
    threads: int = 1
    checkpoint: Checkpoint = "off"
    devices: int = 1

    def chunk(self, time_steps: int) -> int | None:
        """Return the time steps per chunk for a batch of ``time_steps``; None where everything is kept."""
        if self.checkpoint == "off":
            return None
        if self.checkpoint != "auto":
            return min(self.checkpoint, time_steps)
        chunk = max(SHORTEST_CHUNK, math.ceil(math.sqrt(time_steps)))
        return chunk if chunk < time_steps else None


@dataclass(frozen=True)
class StepResult:
    """What one training step gives, as lazy scalars: fetching may wait for the device.

    ``loss`` is the mean loss before the update; ``gradient_norm`` the global L2 norm over all
    parameters before clipping; ``clipped`` is true (or 1) where clipping changed any gradient.
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
        states: the same of each of ``Cell.states``, each (layers, T, B, H), the first being
            ``hidden``. Every state after step t is a variable of its own: for an lstm d loss / d
            c_t goes through c_{t+1} alone, since h_t is another variable. It is what
            ``step_gradient`` gets as ``d_new_state``. None: the engine gives that of h alone, and
            the harness takes the others from its reference.
    """

    loss: float
    parameters: Parameters
    hidden: Array
    states: tuple[Array, ...] | None = None


@dataclass(frozen=True)
class Placement:
    """Where and how a trainer really computes, read off its own tensors and the engine's settings.

    ``device`` is what a trial would call it, ``dtype`` the parameters' own, ``matmul_precision``
    the engine's word for how exact a float32 matrix product is; None where there is only one way.
    ``devices`` is over how many devices the last batch was really split.
    """

    device: str
    dtype: str
    matmul_precision: str | None = None
    devices: int = 1


@dataclass(frozen=True)
class Rank:
    """One of the processes that train a data-parallel trial together, as it tells of itself.

    Attributes:
        device: where it computes.
        threads: how many its engine really uses; None where it cannot tell.
        seconds: spent in training steps since the trainer was made, waiting for the other ranks
            included.
    """

    device: str
    threads: int | None
    seconds: float


class Trainer(ABC):
    """One model with its optimizer on one device, or on several alike that each take a share of every batch.

    Every NumPy array given back is a copy in the trainer's dtype: changing it, or training on,
    changes nothing else.
    """

    def compile(self, batch: DeviceBatch) -> bool:
        """Compile the training step for the shape of ``batch``; return False where there is nothing to compile."""
        return False

    @abstractmethod
    def put(self, batch: Batch) -> DeviceBatch:
        """Copy a batch to the device, in the trainer's dtype. Called outside the timed region."""

    @abstractmethod
    def train_step(self, batch: DeviceBatch) -> StepResult:
        """Do one update; may return before the work is done. Leaves the final state carried."""

    @abstractmethod
    def synchronize(self) -> None:
        """Return when all queued work is done."""

    @abstractmethod
    def outputs(self, batch: DeviceBatch) -> Array:
        """Return logits or predictions (T, B, K), dropout off. Leaves the final state carried."""

    @abstractmethod
    def gradients(self, batch: DeviceBatch) -> Gradients:
        """Return loss and gradients, dropout off, no update; the carried state stays as it was."""

    @abstractmethod
    def parameters(self) -> Parameters:
        """Return a copy of the parameters by name."""

    @abstractmethod
    def load(self, parameters: Parameters) -> None:
        """Replace the parameters by copies of these; optimizer state and step count start afresh."""

    @abstractmethod
    def state(self) -> State | None:
        """Return a copy of the carried state, each (layers, B, H), or None where nothing is carried (zeros)."""

    @abstractmethod
    def load_state(self, state: State | None) -> None:
        """Carry this state into the next batch that asks for it; None means zeros."""

    def peak_memory(self) -> int | None:
        """Return the peak of device memory since the process began, in bytes; None where the process's own serves."""
        return None

    def placement(self) -> Placement | None:
        """Return where the work is really done; None where the engine cannot tell."""
        return None

    def compilations(self) -> int | None:
        """Return how often this process has compiled since it began; None for an engine that compiles nothing."""
        return None

    def ranks(self) -> tuple[Rank, ...]:
        """Return what each process of a data-parallel trainer tells; none where this process does all the work."""
        return ()


class Backend(ABC):
    """A framework that trains models. Constructing one and asking ``availability`` imports nothing heavy."""

    name: ClassVar[str]
    groups: ClassVar[
        tuple[str, ...]
    ] = ()  # names that stand for several backends, such as ``peers``
    checkpoints: ClassVar[bool] = False  # whether its trainers honour ``Execution.checkpoint``
    data_parallel: ClassVar[bool] = False  # whether its trainers honour ``Execution.devices``
    own_layers: ClassVar[str | None] = None  # the variant that runs the framework's own layers

    @abstractmethod
    def availability(self) -> Available | Missing:
        """Say whether this backend can run here; no heavy import to answer ``Missing``."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Return the version of each library that does the work, by distribution name."""

    def devices(self) -> tuple[str, ...]:
        """Return the usable devices, the preferred one first (``--device auto`` takes it)."""
        return ("cpu",)

    @abstractmethod
    def variants(self, cell: Cell) -> tuple[str, ...]:
        """Return the ways in which this backend can execute ``cell`` here, the plainest first."""

    def missing_variants(self) -> Mapping[str, Missing]:
        """Return the variants that this backend knows but cannot offer here, each with the reason and the fix."""
        return {}

    def default_variant(self, cell: Cell, trial: Trial) -> str:
        """Return the variant to take if none is named: what users of the framework have.

        ``trial`` tells hidden, batch, layers, length, device, dtype and threads; its variant means
        nothing yet.
        """
        return self.variants(cell)[0]

    def fastest_variant(self, cell: Cell, trial: Trial) -> str:
        """Return the variant that ``BACKEND:fastest`` takes: the fastest that is known for this cell and size.

        ``trial`` tells the same.
        """
        return self.default_variant(cell, trial)

    def dtypes(self, device: str) -> tuple[Dtype, ...]:
        """Return the number formats that trainers on ``device`` can compute in."""
        return ("float32", "float64")

    def deviation(self, cell: Cell, variant: str) -> str | None:
        """Return in one sentence how this variant's function differs from the cell's equations; None where it is equal.

        A trial of such a variant is marked: its gradients are not compared with the reference,
        since they differ.
        """
        return None

    def why_unsupported(self, model: Model, trial: Trial) -> str | None:
        """Return why this model or trial cannot run here, or None where it can."""
        return None

    @abstractmethod
    def trainer(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> Trainer:
        """Return a trainer that starts from ``parameters`` (float64 arrays, to be copied and cast)."""

    def product_chain(
        self, start: Array, matrices: Sequence[Array], execution: Execution
    ) -> Callable[[int], Array] | None:
        """Return a function ``run(rounds)`` that takes matrix products one after the other and returns the last.

        A round multiplies x, at first ``start`` (B, K), by each of ``matrices`` in turn from the
        right, so that no product can begin before the one before it has ended; the last one's
        columns are K again. ``run`` returns a copy of the final x in the execution's dtype. The
        harness times it to find what large products, and the chain of products that a recurrence
        cannot avoid, reach on this engine. None: these limits stay unknown.
        """
        return None

    def environment(self, threads: int, devices: int = 1) -> dict[str, str]:
        """Return environment variables to set in the worker before anything is imported, to bound its threads.

        The core sets the OpenMP, OpenBLAS and MKL counts for every backend itself. ``devices`` is
        given to a backend that is ``data_parallel``, and only where it is not 1. Launches side by
        side ask at the same time, each in a thread.
        """
        return {}

    def threads(self) -> int | None:
        """Return the number of threads per device that the engine really uses; None lets the core look at its BLAS."""
        return None

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Say whether ``error`` means that memory ran out."""
        return isinstance(error, MemoryError)
