"""A probe: figures and curves of a trained network, computed from its weights in float64.

A probe runs after everything that is timed, in a process of its own. It needs no backend.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from numpy.typing import NDArray

from harness.contract.batch import Batch
from harness.contract.model import Array, Model, Parameters, State
from harness.contract.task import Task


class Stepper(ABC):
    """The recurrence of a trained network, one time step at a time, in float64 NumPy.

    A state has one array for each of ``Cell.states``: (layers, B, H), or (layers, B, H, H) for a
    matrix. Dropout is off.
    """

    @abstractmethod
    def zeros(self, sequences: int) -> State:
        """Return the state from which sequences begin."""

    @abstractmethod
    def run(self, inputs: NDArray, state: State | None = None) -> Iterator[State]:  # type: ignore[type-arg]
        """Yield the state after each of the T time steps.

        Args:
            inputs: (T, B) token ids, or (T, B, D) vectors, as in ``Batch.inputs``.
            state: before the first step; None: zeros.
        """

    @abstractmethod
    def outputs(self, state: State) -> Array:
        """Return the readout (B, K) of a state."""

    @abstractmethod
    def pull_back(self, inputs: NDArray, state: State, cotangent: State) -> State:  # type: ignore[type-arg]
        """Return J^T v, where J = d new state / d old state of one time step of all layers.

        Args:
            inputs: (B,) token ids, or (B, D) vectors, of the step.
            state: before the step.
            cotangent: v, in the shapes of ``state``: one vector per sequence.
        """


@dataclass(frozen=True)
class TrainedNetwork:
    """What a probe sees.

    Attributes:
        model: the function.
        parameters: the trained weights by torch.nn's names, float64.
        task: the task on which it was trained, prepared.
        batches: the validation batches of its trial. A batch with ``carry`` goes on where the one
            before it ended.
        stepper: runs the network, and its gradient.
    """

    model: Model
    parameters: Parameters
    task: Task
    batches: Sequence[Batch]
    stepper: Stepper


@dataclass(frozen=True)
class Curve:
    """A series of n values.

    Attributes:
        along: the name of the axis, with its unit: ``lag_steps``.
        at: n positions on the axis.
        values: n values; None where there is none.
    """

    along: str
    at: Sequence[float]
    values: Sequence[float | None]


@dataclass(frozen=True)
class Findings:
    """What a probe returns.

    Attributes:
        figures: name (of ``Probe.figures``) -> value; None: it does not exist for this network.
        curves: name -> series.
    """

    figures: Mapping[str, float | None]
    curves: Mapping[str, Curve] = field(default_factory=dict)


class Probe(ABC):
    """Measures trained networks. Its results are named ``probe.NAME.FIGURE``.

    Attributes:
        name: of the probe.
        version: to be raised if the same network would get other figures.
        figures: name -> what it says, in a few words. A figure with a unit has it in its name:
            ``horizon_steps``.
        seconds: the longest that ``measure`` may take; then it is stopped, and has failed.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    figures: ClassVar[Mapping[str, str]]
    seconds: ClassVar[float] = 120.0

    @abstractmethod
    def measure(self, network: TrainedNetwork) -> Findings:
        """Return the figures and curves of a network. Equal networks give equal figures.

        A figure is a finite number or None. NaN or an exception costs the trial a flag.
        """
