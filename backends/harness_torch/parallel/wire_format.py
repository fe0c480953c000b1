"""Models, rules and errors as JSON, so that a rank can make them again. No torch import here."""

from __future__ import annotations

from dataclasses import asdict, fields
from importlib import import_module
from typing import Any

from harness.contract import (
    Cell,
    DeviceMemoryError,
    Execution,
    HarnessError,
    Inputs,
    Model,
    Optimizer,
    UnsupportedError,
    errors,
)

ErrorWords = dict[str, Any]


def to_wire(model: Model, optimizer: Optimizer, execution: Execution) -> dict[str, Any]:
    """Return what ``from_wire`` needs.

    Raises:
        UnsupportedError: the cell cannot be made again in another process.
    """
    kind = type(model.cell)
    cell = {"module": kind.__module__, "name": kind.__qualname__}
    _cell(**cell)
    sizes = {part.name: getattr(model, part.name) for part in fields(model)}
    return {
        "model": sizes | {"cell": cell, "inputs": asdict(model.inputs)},
        "optimizer": asdict(optimizer),
        "execution": asdict(execution),
    }


def from_wire(content: dict[str, Any]) -> tuple[Model, Optimizer, Execution]:
    """Return the model, optimizer and execution that ``to_wire`` was given."""
    model = dict(content["model"])
    cell, inputs = _cell(**model.pop("cell")), Inputs(**model.pop("inputs"))
    return (
        Model(cell, inputs, **model),
        Optimizer(**content["optimizer"]),
        Execution(**content["execution"]),
    )


def error_words(error: Exception) -> ErrorWords:
    """Return an error as JSON."""
    names = [kind.__name__ for kind in type(error).__mro__]
    return {"kinds": names, "message": str(error)}


def error_of(words: ErrorWords, rank: int) -> Exception:
    """Return a rank's error: the harness's own of the same kind, or one that names it."""
    message = f"{words['message']} (rank {rank})"
    if "MemoryError" in words["kinds"]:
        return MemoryError(message)
    if "OutOfMemoryError" in words["kinds"] or "DefaultCPUAllocator: " in message:
        return DeviceMemoryError(message)
    for name in words["kinds"]:
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, HarnessError):
            try:
                return kind(message)
            except TypeError:  # this kind needs more than a message
                continue
    return RuntimeError(f"{words['kinds'][0]}: {message}")


def _cell(module: str, name: str) -> Cell:
    """Return a new cell of this class."""
    try:
        target: Any = import_module(module)
        for part in name.split("."):
            target = getattr(target, part)
        cell: Cell = target()
    except (ImportError, AttributeError, TypeError) as error:
        why = "several devices need a cell that can be imported and is made without arguments"
        raise UnsupportedError(
            f"{module}.{name} cannot be made again in another process: {error}; {why}"
        ) from error
    return cell
