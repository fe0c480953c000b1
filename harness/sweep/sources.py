"""Digests of the code that a trial runs. The code is read, never imported."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CORE = "harness"
# They start the worker, are the worker, and are what the worker loads as a plugin. Engines write
# their kernels with the last four.
CORE_STARTS = (
    "harness.execute.process",
    "harness.measure.worker",
    "harness.cells",
    "harness.recurrence.loops",
    "harness.recurrence.statements.backward",
    "harness.recurrence.statements.prepared",
    "harness.recurrence.statements.program",
)
_IMPORTED = re.compile(rb"^\s*(?:from|import)\s+(harness_\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Sources:
    """The digest of a package's files, and the ``harness_*`` packages that its code imports."""

    digest: str
    imports: frozenset[str]


def digests(packages: Iterable[str]) -> dict[str, str]:
    """Return package -> digest, of these packages and of the ``harness_*`` packages they import.

    The core is always among them, with the files that a worker runs. A package that cannot be found
    is left out.
    """
    digest_of: dict[str, str] = {}
    waiting = [CORE, *packages]
    while waiting:
        name = waiting.pop()
        sources = None if name in digest_of else _sources(name)
        if sources is not None:
            digest_of[name] = sources.digest
            waiting += sorted(sources.imports)
    return digest_of


def core_files(root: Path) -> set[Path]:
    """Return the files of the core below ``root`` that a worker runs, by following imports.

    Imports inside functions count too. The entrance ``harness/__init__.py`` does not: a worker
    calls nothing of it.
    """
    files = set[Path]()
    waiting = list(CORE_STARTS)
    while waiting:
        path = _module_file(root, waiting.pop())
        if path is None or path in files or path == root / "__init__.py":
            continue
        files.add(path)
        waiting += _imported_modules(path)
    return files


@cache
def _sources(package: str) -> Sources | None:
    """Read a package's files once per process. A version alone would not show an edited file."""
    root = _root(package)
    if root is None:
        return None
    files = core_files(root) if package == CORE else _all_files(root)
    whole, imports = hashlib.sha256(), set[str]()
    for path in sorted(files):
        content = path.read_bytes()
        whole.update(f"{path.relative_to(root.parent)} {len(content)}\n".encode() + content)
        if path.suffix == ".py":
            imports |= {name.decode() for name in _IMPORTED.findall(content)}
    return Sources(whole.hexdigest()[:12], frozenset(imports))


def _root(package: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.has_location and spec.origin else None


def _all_files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    for path in root.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _module_file(root: Path, module: str) -> Path | None:
    path = root.joinpath(*module.split(".")[1:])
    if path.is_dir():
        return path / "__init__.py"
    path = path.with_suffix(".py")
    return path if path.is_file() else None


def _imported_modules(path: Path) -> Iterator[str]:
    """Yield the modules of the core that a file may import, and the packages that hold them."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # An imported name may be a module.
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for module in modules:
            parts = module.split(".")
            if parts[0] == CORE:
                yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))
