"""What an entry of a plugin declares about itself, checked before anything relies on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from keyword import iskeyword
from pathlib import Path
from typing import Any

from harness.contract.backend import Backend
from harness.contract.cell import Cell, Product
from harness.contract.errors import PluginError
from harness.contract.hooks import Published, Suite
from harness.contract.probes.probe import Probe
from harness.contract.records.exporter import Exporter
from harness.contract.task import Task, TaskOptions
from harness.contract.wording import check_name
from harness.plugins.validation import answer_text, finite_number

BUILT_IN_FORMATS = ("table", "png", "svg")  # of ``harness report``, which no exporter makes


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
    """Check name, methods and attributes of an entry: a ``backend``, ``task``, ``cell``, ...

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
    if kind in {"suite", "published"}:
        check_path(kind, entry)
    if kind == "probe":
        check_probe(entry)
    if kind == "exporter":
        check_exporter(entry)
    if kind == "task" and not _is_subclass(entry.Options, TaskOptions):
        raise PluginError(
            f"task {entry.name!r}: Options must be a subclass of TaskOptions, got {entry.Options!r}"
        )


def check_path(kind: str, entry: Suite | Published) -> None:
    """Check that an entry names a file.

    Raises:
        PluginError: it does not.
    """
    if not (isinstance(entry.path, Path) and entry.path.is_file()):
        raise PluginError(f"{kind} {entry.name!r}: path must be that of a file, got {entry.path!r}")


def check_groups(backend: Backend) -> None:
    """Check the names of a backend's groups and languages.

    Raises:
        UsageError: a name is not allowed.
        PluginError: they are not a tuple.
    """
    for kind, names in (("groups", backend.groups), ("languages", backend.languages)):
        if not isinstance(names, tuple):
            raise PluginError(
                f"backend {backend.name!r}: {kind} must be a tuple of names, got {names!r}"
            )
        for name in names:
            check_name(kind.removesuffix("s"), name)


def check_probe(probe: Probe) -> None:
    """Check version, figures and time limit of a probe.

    Raises:
        UsageError: the name of a figure is not allowed.
        PluginError: they are not what the contract says.
    """
    figures = getattr(probe, "figures", None)
    is_described = isinstance(figures, Mapping) and all(
        isinstance(says, str) and says for says in figures.values()
    )
    version, seconds = probe.version, finite_number(probe.seconds)
    for what, is_right, value in (
        ("figures must map names to what they say", is_described and bool(figures), figures),
        ("version must be a whole number from 1", type(version) is int and version > 0, version),
        ("seconds must be a number above 0", seconds is not None and seconds > 0, probe.seconds),
    ):
        if not is_right:
            raise PluginError(f"probe {probe.name!r}: {what}, got {answer_text(value)}")
    for name in figures or ():
        check_name("figure", name)


def check_exporter(exporter: Exporter) -> None:
    """Check the name and the suffixes of an exporter.

    Raises:
        PluginError: they are not what the contract says.
    """
    if exporter.name in BUILT_IN_FORMATS:
        raise PluginError(f"exporter {exporter.name!r}: harness report has a format of that name")
    suffixes: Any = getattr(exporter, "suffixes", None)
    is_tuple = isinstance(suffixes, tuple) and bool(suffixes)
    if not is_tuple or not all(isinstance(each, str) and each[:1] == "." for each in suffixes):
        expected = "suffixes must be a tuple of texts that begin with a dot"
        got = answer_text(suffixes)
        raise PluginError(f"exporter {exporter.name!r}: {expected}, got {got}")


def check_cell(cell: Cell) -> None:
    """Check gates, states, products, vectors and roles of a cell. Engines and tables rely on them.

    Raises:
        PluginError: names are not a tuple of different texts, or a role has another value.
    """
    for kind, names in (("gates", getattr(cell, "gates", None)), ("states", cell.states)):
        if not _are_different_names(names):
            expected = f"{kind} must be a tuple of different names"
            raise PluginError(f"cell {cell.name!r}: {expected}, got {answer_text(names)}")
    for kind, problem in (
        ("gates", _problem_of_words(cell.gates)),
        ("states", _problem_of_words(cell.states, attributes=True)),
        ("matrix_states", _problem_of_matrices(cell.matrix_states, cell)),
        ("vectors", _problem_of_names(cell.vectors, cell)),
        ("products", _problem_of_products(cell.products, cell)),
    ):
        if problem:
            got = answer_text(getattr(cell, kind))
            raise PluginError(f"cell {cell.name!r}: {kind} must be {problem}, got {got}")
    allowed: dict[str, tuple[Any, ...]] = {
        "memory_sign": (1, -1),
        "memory_gate": (None, *cell.gates),
        "input_gate": (None, *cell.gates),
    }
    for kind, values in allowed.items():
        if (value := getattr(cell, kind)) not in values:
            expected = f"{kind} must be one of {values}"
            raise PluginError(f"cell {cell.name!r}: {expected}, got {answer_text(value)}")


def _problem_of_names(names: Any, cell: Cell) -> str | None:
    """Return what vectors must be, if they are not: they are attributes and parameters."""
    if names == ():
        return None
    if not isinstance(names, tuple) or not _are_different_names(names):
        return "a tuple of different names"
    if problem := _problem_of_words(names, attributes=True):
        return problem
    products = [each.name for each in cell.products if isinstance(each, Product)]
    used = {f"{kind}_{name}" for kind in ("weight", "bias") for name in ("ih", *products)}
    return "other names than those of weights and biases" if used & set(names) else None


def _problem_of_words(names: Sequence[str], *, attributes: bool = False) -> str | None:
    """Return what names must be, if they are not: code that is generated from a cell has them."""
    if not all(name.isidentifier() for name in names):
        return "words of letters, digits and _"
    if attributes and any(name.startswith("_") or iskeyword(name) for name in names):
        return "names that Python allows for an attribute"
    return None


def _problem_of_matrices(names: Any, cell: Cell) -> str | None:
    """Return what matrix_states must be, if they are not: states, but not the output."""
    if names == ():
        return None
    if isinstance(names, tuple) and _are_different_names(names) and {*names} <= {*cell.states[1:]}:
        return None
    return f"a tuple of states other than the first, {cell.states[0]}"


def _problem_of_products(products: Any, cell: Cell) -> str | None:
    """Return what products must be, if they are not."""
    if not isinstance(products, tuple) or not all(isinstance(each, Product) for each in products):
        return "a tuple of Product"
    names = [each.name for each in products]
    if names and (not _are_different_names(names) or not {"ih", "out"}.isdisjoint(names)):
        return "of different names, none of them ih or out"
    if problem := _problem_of_words(names):
        return problem
    if any(each.gates is not None and not _are_some(each.gates, cell.gates) for each in products):
        return f"for some of the gates {cell.gates}"
    return None


def _are_some(names: Any, all_names: Sequence[str]) -> bool:
    return _are_different_names(names) and set(names) <= set(all_names)


def _are_different_names(names: Any) -> bool:
    if not isinstance(names, tuple | list) or not names:
        return False
    return all(isinstance(name, str) and name for name in names) and len(set(names)) == len(names)


def _is_subclass(value: Any, kind: type) -> bool:
    return isinstance(value, type) and issubclass(value, kind)
