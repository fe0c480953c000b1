"""A digest of the code that a trial runs: of packages and of those of ours that they import. Nothing is imported."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CORE = "harness"
CORE_PARTS = ("contract", "cells", "measure", "plugins", "execute/process.py")  # what a worker runs
_IMPORTED = re.compile(rb"^\s*(?:from|import)\s+(harness_\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Sources:
    """The digest of a package's files, and the packages named ``harness_*`` that its code imports."""

    digest: str
    imports: frozenset[str]


def digests(packages: Iterable[str]) -> dict[str, str]:
    """Return package -> digest of these top-level packages and of all that they import of the same family.

    The core is always among them, less what no worker runs. A package that cannot be found is left
    out.
    """
    found: dict[str, str] = {}
    left = [CORE, *packages]
    while left:
        name = left.pop()
        sources = None if name in found else _sources(name)
        if sources is not None:
            found[name] = sources.digest
            left += sorted(sources.imports)
    return found


@cache
def _sources(package: str) -> Sources | None:
    """Read a package's files once per process: a version alone would not tell what somebody has edited."""
    root = _root(package)
    if root is None:
        return None
    whole, imports = hashlib.sha256(), set[str]()
    for path in sorted(_files(root, CORE_PARTS if package == CORE else ("",))):
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
    places = list(spec.submodule_search_locations or ()) or (
        [spec.origin] if spec.has_location and spec.origin else []
    )
    return Path(places[0]) if places else None


def _files(root: Path, parts: Iterable[str]) -> Iterator[Path]:
    for part in parts:
        place = root / part
        if place.is_file():
            yield place
        else:
            yield from (
                path
                for path in place.rglob("*")
                if path.is_file() and "__pycache__" not in path.parts
            )
