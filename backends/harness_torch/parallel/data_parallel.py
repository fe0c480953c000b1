"""The trainer in the worker for several devices: it splits batches; the ranks do the work.

No torch import here: the worker's own process computes nothing, so that it can watch and time the
ranks.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.contract import (
    Array,
    Batch,
    Execution,
    Gradients,
    HarnessError,
    Model,
    Optimizer,
    Parameters,
    Placement,
    Rank,
    State,
    StepResult,
    Trainer,
    UsageError,
    array_dtype,
    check_state,
)
from harness_torch.parallel.ranks import Ranks, running
from harness_torch.parallel.wire import Arrays
from harness_torch.parallel.wire_format import to_wire

SAME_NORM = 1e-3  # relative; replicas that add the same numbers differ by nothing at all


@dataclass(frozen=True, eq=False)
class SplitBatch:
    """A batch that lies on the ranks.

    Attributes:
        number: its number in messages.
        sizes: sequences on each rank.
    """

    number: int
    sizes: tuple[int, ...]

    @property
    def holders(self) -> list[int]:
        """The ranks that have any of it."""
        return _holders(self.sizes)


@dataclass(eq=False)
class _Step:
    """A training step; its figures arrive with ``synchronize``."""

    trainer: DataParallelTrainer
    figures: dict[str, float] | None = None


@dataclass(frozen=True, eq=False)
class _Figure:
    """One figure of a step: a lazy scalar."""

    step: _Step
    name: str

    def __float__(self) -> float:
        if self.step.figures is None:
            self.step.trainer.synchronize()
        if self.step.figures is None:
            raise HarnessError(f"the {self.name} of a training step is lost: its ranks have ended")
        return self.step.figures[self.name]

    def __bool__(self) -> bool:
        return float(self) != 0


class DataParallelTrainer(Trainer):
    """One model on several devices: a replica per rank, split batches, DDP's mean gradients."""

    def __init__(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> None:
        content = to_wire(model, optimizer, execution)
        self._model, self._count = model, execution.devices
        self._dtype = array_dtype(execution.dtype)
        self._ranks: Ranks = running(execution.devices, execution.device, execution.threads)
        self._number = self._ranks.number()
        self._queued: list[_Step] = []
        self._carried: tuple[int, ...] | None = None  # sequences of the carried state by rank
        self._seconds = [0.0] * self._count
        self._peak_bytes: int | None = None
        self._compilations: int | None = None
        weights = [_float64(parameters)] * self._count
        self._ranks.ask({"do": "trainer", "number": self._number, "trainer": content}, weights)
        weakref.finalize(self, self._ranks.forget, self._number)

    def compile(self, batch: SplitBatch) -> bool:
        """Compile on every rank, for its share of ``batch``."""
        replies = self._ask("compile", batch.holders, batch=batch.number)
        return any(content["compiled"] for content, _ in replies)

    def put(self, batch: Batch) -> SplitBatch:
        """Copy to each rank its share of a batch: equal shares if possible.

        Raises:
            PluginError: a token or class is outside its range.
        """
        shares = [_shares(part, self._count) for part in (batch.inputs, batch.targets, batch.mask)]
        arrays: list[Arrays] = [
            dict(zip(("inputs", "targets", "mask"), each, strict=True))
            for each in zip(*shares, strict=True)
        ]
        split = SplitBatch(self._ranks.number(), tuple(each["mask"].shape[1] for each in arrays))
        counted = int(batch.mask.sum())
        self._ask(
            "put", split.holders, arrays, number=split.number, carry=batch.carry, counted=counted
        )
        weakref.finalize(split, self._ranks.forget, split.number)
        return split

    def train_step(self, batch: SplitBatch) -> StepResult:
        """Tell the ranks to do one update; return before it is done.

        Raises:
            UsageError: there are fewer sequences than ranks.
        """
        if not all(batch.sizes):
            raise UsageError(
                f"{sum(batch.sizes)} sequences cannot be split over {self._count} devices: "
                "give more"
            )
        self._ranks.tell({"do": "step", "replica": self._number, "batch": batch.number})
        self._carried = batch.sizes
        step = _Step(self)
        self._queued.append(step)
        return StepResult(_Figure(step, "loss"), _Figure(step, "norm"), _Figure(step, "clipped"))

    def synchronize(self) -> None:
        """Wait for the ranks; the figures of the steps come with their answers.

        Raises:
            HarnessError: the gradients are not the same on every rank.
        """
        replies = self._ask("synchronize")
        self._seconds = [content["seconds"] for content, _ in replies]
        self._peak_bytes = max(content["peak_bytes"] for content, _ in replies)
        counts = [
            content["compilations"] for content, _ in replies if content["compilations"] is not None
        ]
        self._compilations = max(counts, default=None)
        steps, self._queued = self._queued, []
        losses, norms, clipped = (
            np.array([arrays[name] for _, arrays in replies])
            for name in ("loss", "norm", "clipped")
        )
        if not np.allclose(norms, norms[0], rtol=SAME_NORM, atol=0, equal_nan=True):
            raise HarnessError(
                "the ranks' gradients have drifted apart: they no longer train the same weights"
            )
        for index, step in enumerate(steps):
            whole = {
                "loss": losses[:, index].sum(),
                "norm": norms[0, index],
                "clipped": clipped[0, index],
            }
            step.figures = {name: float(value) for name, value in whole.items()}

    def outputs(self, batch: SplitBatch) -> Array:
        """Return logits or predictions (T, B, K), dropout off."""
        replies = self._ask("outputs", batch.holders, batch=batch.number)
        self._carried = batch.sizes
        return np.concatenate([arrays["outputs"] for _, arrays in replies], axis=1)

    def gradients(self, batch: SplitBatch) -> Gradients:
        """Return loss and gradients, dropout off, no update: sums over the shares."""
        replies = self._ask("gradients", batch.holders, batch=batch.number)
        shares = [dict(arrays) for _, arrays in replies]
        hidden = np.concatenate([each.pop("hidden") for each in shares], axis=2)
        named = {
            name: np.sum([each[name] for each in shares], axis=0, dtype=self._dtype)
            for name in self._names
        }
        return Gradients(sum(content["loss"] for content, _ in replies), named, hidden)

    def parameters(self) -> Parameters:
        """Return a copy of the parameters by name: the first rank's."""
        ((_, arrays),) = self._ask("parameters", [0])
        return {name: np.array(arrays[name]) for name in self._names}

    def load(self, parameters: Parameters) -> None:
        """Replace the parameters on every rank; the optimizers start afresh.

        Raises:
            UsageError: a name or shape is not the model's.
        """
        self._ask("load", arrays=[_float64(parameters)] * self._count)

    def state(self) -> State | None:
        """Return a copy of the carried state, each (layers, B, H), or None."""
        if self._carried is None:
            return None
        replies = self._ask("state", _holders(self._carried))
        count = len(self._model.cell.states)
        return tuple(
            np.concatenate([arrays[str(index)] for _, arrays in replies], axis=1)
            for index in range(count)
        )

    def load_state(self, state: State | None) -> None:
        """Carry this state into the next batch that asks for it.

        Raises:
            UsageError: a shape is not (layers, B, H), or their number is not the cell's.
        """
        if state is not None:
            check_state(self._model, state)
        shares = [_shares(part, self._count) for part in state or ()]
        arrays: list[Arrays] = [
            {str(i): part[rank] for i, part in enumerate(shares)} for rank in range(self._count)
        ]
        sizes = None if state is None else tuple(each["0"].shape[1] for each in arrays)
        holders = None if sizes is None else _holders(sizes)
        self._ask("load_state", holders, arrays, carried=state is not None)
        self._carried = sizes

    def peak_memory(self) -> int | None:
        """Return the largest peak of a rank: its device's or, on the CPU, its process's growth."""
        return self._peak_bytes

    def placement(self) -> Placement:
        """Return the first rank's placement, and how many ranks shared the last trained batch."""
        replies = [content for content, _ in self._ask("placement")]
        sequences = [content.pop("sequences") for content in replies]
        placements = [Placement(**content) for content in replies]
        odd = next(
            (placement for placement in placements if placement.dtype != placements[0].dtype),
            placements[0],
        )
        return replace(odd, device=placements[0].device, devices=sum(map(bool, sequences)))

    def compilations(self) -> int | None:
        """Return the most that any rank has compiled; None for a variant that compiles nothing."""
        return self._compilations

    def ranks(self) -> tuple[Rank, ...]:
        """Return device, threads and seconds of each, as of the last ``synchronize``."""
        both = zip(self._ranks.facts, self._seconds, strict=True)
        return tuple(Rank(facts["device"], facts["threads"], seconds) for facts, seconds in both)

    @property
    def _names(self) -> Sequence[str]:
        return tuple(self._model.parameter_shapes())

    def _ask(
        self,
        do: str,
        only: Sequence[int] | None = None,
        arrays: Sequence[Arrays] | None = None,
        **content: Any,
    ) -> Any:
        """Ask the ranks in ``only``, or all."""
        return self._ranks.ask({"do": do, "replica": self._number, **content}, arrays, only or ())


def _shares(part: NDArray[Any], count: int) -> list[NDArray[Any]]:
    """Return the sequences (T or layers, B, ...) in ``count`` shares of nearly equal size."""
    return np.array_split(np.asarray(part), count, axis=1)


def _holders(sizes: Sequence[int]) -> list[int]:
    return [rank for rank, size in enumerate(sizes) if size]


def _float64(parameters: Parameters) -> Arrays:
    return {name: np.asarray(value, np.float64) for name, value in parameters.items()}
