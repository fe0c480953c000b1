"""The events of a running trial. They go as JSON lines from the worker to its parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from harness.contract import Evaluation, Record
from harness.contract.records.record import Figure, finite


@dataclass(frozen=True)
class Phase:
    """The trial enters a phase.

    The phases are load, prepare, build, parity, flow, restore, evaluate, compile, first_step,
    sample, weights, lengths, train, snapshot, audit, limits and finish.
    """

    name: str


@dataclass(frozen=True)
class Facts:
    """Figures, curves and details that are known now. A killed trial keeps them."""

    figures: Mapping[str, Figure] = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    environment_id: str | None = None


@dataclass(frozen=True)
class Progress:
    """One block of training is done.

    Attributes:
        step: updates done so far, this block's included.
        steps: updates in all.
        losses: of each step of this block; None: not finite.
        norms: gradient norms before clipping of each step of this block; None: not finite.
        clipped: for each step of this block, whether clipping changed any gradient.
        seconds: the duration of this block.
        tokens: time steps times sequences of this block.
        peak_memory_bytes: the peak so far; None: unknown.
    """

    step: int
    steps: int
    losses: tuple[float | None, ...]
    norms: tuple[float | None, ...]
    clipped: tuple[bool, ...]
    seconds: float
    tokens: int
    peak_memory_bytes: int | None = None


@dataclass(frozen=True)
class Evaluated:
    """Validation figures after some steps, and whether they solve the task."""

    evaluation: Evaluation
    solved: bool


@dataclass(frozen=True)
class Sampled:
    """A text that the model writes after ``step`` updates."""

    step: int
    temperature: float
    prime: str
    text: str


@dataclass(frozen=True)
class SetsEvaluated:
    """Figures on further held-out data after ``step`` updates, for each set one mapping."""

    step: int
    sets: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Finished:
    """The trial is over. It is always the last event, with the record."""

    record: Record


Event = Phase | Facts | Progress | Evaluated | Sampled | SetsEvaluated | Finished
_KINDS: dict[str, type[Phase | Facts | Progress | Sampled | SetsEvaluated]] = {
    "phase": Phase,
    "facts": Facts,
    "progress": Progress,
    "sampled": Sampled,
    "setsevaluated": SetsEvaluated,
}


def to_json(event: Event) -> dict[str, Any]:
    """Return ``{"event": kind, ...}`` with JSON-able values only."""
    if isinstance(event, Finished):
        return {"event": "record", "record": event.record.to_json()}
    if isinstance(event, Evaluated):
        return {
            "event": "evaluated",
            "solved": event.solved,
            "evaluation": finite(asdict(event.evaluation)),
        }
    content = {item.name: getattr(event, item.name) for item in fields(event)}
    return {"event": type(event).__name__.lower(), **finite(content)}


def from_json(content: Mapping[str, Any]) -> Event:
    """Return the event whose ``to_json`` gave ``content``.

    Raises:
        KeyError, TypeError, ValueError: the content is not an event's.
    """
    values = dict(content)
    kind = values.pop("event")
    if kind == "record":
        return Finished(Record.from_json(values["record"]))
    if kind == "evaluated":
        return Evaluated(Evaluation(**values["evaluation"]), bool(values["solved"]))
    if kind == "progress":
        values |= {name: tuple(values[name]) for name in ("losses", "norms", "clipped")}
    elif kind == "setsevaluated":
        values["sets"] = tuple(values["sets"])
    return _KINDS[kind](**values)
