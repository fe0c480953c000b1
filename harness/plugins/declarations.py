"""What an entry of a plugin declares about itself, checked before anything relies on it."""

from __future__ import annotations

from typing import Any

from harness.contract.backend import Backend
from harness.contract.cell import Cell
from harness.contract.errors import PluginError
from harness.contract.task import Task, TaskOptions
from harness.contract.wording import check_name
from harness.plugins.validation import answer_text


def check_entries(hook: str, kind: type, entries: list[Any]) -> None:
    """Check that a hook returned instances of ``kind``, or subclasses of ``Task``.

    Raises:
        PluginError: it returned something else.
    """
    for entry in entries:
        if kind is Task:
            expected, is_right = "subclasses of Task", _is_subclass(entry, Task)
        else:
            expected, is_right = f"instances of {kind.__name__}", isinstance(entry, kind)
        if not is_right:
            raise PluginError(f"{hook} must return {expected}, got {answer_text(entry)}")


def check_declaration(kind: str, entry: Any) -> None:
    """Check name, methods and attributes of a ``backend``, ``task`` or ``cell``.

    Raises:
        UsageError: a name is not allowed.
        PluginError: a method is missing, or an attribute is not what the contract says.
    """
    check_name(kind, getattr(entry, "name", None))
    missing = sorted(getattr(entry, "__abstractmethods__", ()))
    if missing:
        raise PluginError(f"{kind} {entry.name!r} does not implement {', '.join(missing)}")
    if kind == "backend":
        check_groups(entry)
    if kind == "cell":
        check_cell(entry)
    if kind == "task" and not _is_subclass(entry.Options, TaskOptions):
        raise PluginError(
            f"task {entry.name!r}: Options must be a subclass of TaskOptions, got {entry.Options!r}"
        )


def check_groups(backend: Backend) -> None:
    """Check the names of a backend's groups.

    Raises:
        UsageError: a name is not allowed.
        PluginError: they are not a tuple.
    """
    if not isinstance(backend.groups, tuple):
        raise PluginError(
            f"backend {backend.name!r}: groups must be a tuple of names, got {backend.groups!r}"
        )
    for group in backend.groups:
        check_name("group", group)


def check_cell(cell: Cell) -> None:
    """Check gates, states and roles of a cell. Engines and tables rely on them.

    Raises:
        PluginError: names are not a tuple of different texts, or a role has another value.
    """
    for kind, names in (("gates", getattr(cell, "gates", None)), ("states", cell.states)):
        if not _are_different_names(names):
            expected = f"{kind} must be a tuple of different names"
            raise PluginError(f"cell {cell.name!r}: {expected}, got {answer_text(names)}")
    allowed: dict[str, tuple[Any, ...]] = {
        "recurrent": (True, False),
        "memory_sign": (1, -1),
        "memory_gate": (None, *cell.gates),
        "input_gate": (None, *cell.gates),
    }
    for kind, values in allowed.items():
        if (value := getattr(cell, kind)) not in values:
            expected = f"{kind} must be one of {values}"
            raise PluginError(f"cell {cell.name!r}: {expected}, got {answer_text(value)}")


def _are_different_names(names: Any) -> bool:
    if not isinstance(names, tuple | list) or not names:
        return False
    return all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names)


def _is_subclass(value: Any, kind: type) -> bool:
    return isinstance(value, type) and issubclass(value, kind)
