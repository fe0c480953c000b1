"""The import graph of the library, read from its source. Lazy imports count as well."""

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import paths

SOURCES = ("harness", "backends", "tasks", "results")
PREFIXES = ("backends", "tasks", "results")  # folders on the path, not packages

Graph = Mapping[str, set[str]]


def files() -> list[Path]:
    """Return every file of library code."""
    return sorted(path for folder in SOURCES for path in (paths.ROOT / folder).rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    """Return the dotted name of a module."""
    parts = path.relative_to(paths.ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] in PREFIXES else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph() -> Graph:
    """Return module -> the modules of this project that it imports."""
    modules = {name_of(path): path for path in files()}
    graph = {}
    for module, path in modules.items():
        targets = {_longest_module(name, modules) for name in imported_names(path)}
        graph[module] = targets - {None, module}
    return graph


def imported_names(path: Path) -> Iterator[str]:
    """Yield ``package.module.name`` of everything that a file imports, at any level of its code."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _longest_module(name: str, modules: Mapping[str, Path]) -> str | None:
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def assert_no_circle(graph: Graph) -> None:
    """Raise CycleError, which names a circle, if there is one."""
    TopologicalSorter(graph).prepare()


def bindings(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield each name that code binds, with its line."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name.strip("_"), node.lineno
            case ast.ClassDef(name=name) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name.strip("_"), node.lineno
            case (
                ast.ExceptHandler(name=str(name))
                | ast.alias(asname=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                yield name, node.lineno
