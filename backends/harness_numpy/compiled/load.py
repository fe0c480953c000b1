"""The modules of generated source: one file per text in the user's cache, for Numba's own cache."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType

from harness_numpy.compiled.jit import folder


def module(name: str, source: str) -> ModuleType:
    """Return the module of ``source``, loaded once per process.

    Raises:
        UnavailableError: there is no folder for compiled code.
    """
    name = re.sub(r"\W", "_", name)
    return _loaded(f"{name}_{hashlib.sha256(source.encode()).hexdigest()[:24]}", source)


@cache
def _loaded(name: str, source: str) -> ModuleType:
    path = folder() / f"{name}.py"
    if not path.exists() or path.read_text(encoding="utf-8") != source:
        _write(path, source)
    spec = importlib.util.spec_from_file_location(f"harness_numpy_generated.{name}", path)
    assert spec is not None  # noqa: S101 - for the type checker: the path ends in .py
    assert spec.loader is not None  # noqa: S101
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # Numba's cache names a kernel by its module
    spec.loader.exec_module(loaded)
    return loaded


def _write(path: Path, source: str) -> None:
    """Write all of it or nothing; a file that another process wrote meanwhile stays.

    Numba compiles again if the time of the file changes.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".py")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(source)
    temporary = Path(name)
    if path.exists():  # with another text
        temporary.replace(path)
        return
    with suppress(FileExistsError):
        os.link(temporary, path)
    temporary.unlink()
