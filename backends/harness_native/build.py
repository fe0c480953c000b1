"""Builds C once per source, compiler, CPU and flags, into a cache of the user's; several processes may at once."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.contract import Missing, UnavailableError
from harness_native.compiler import Compiler, compilers

SOURCES = Path(__file__).parent
FLAGS = (
    *("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno"),
    *("-shared", "-fPIC", "-fvisibility=hidden", "-pthread"),
)
TIMEOUT_SECONDS = 300
CURE = 'pip install "rnn-harness[native]", which brings a C compiler as a package; or install gcc or clang'


@dataclass(frozen=True)
class Recipe:
    """A shared library to build: a source of this package, and headers of another, ``header`` below ``folder``."""

    source: str
    folder: str = ""
    header: str = ""

    def digest(self) -> str:
        """Return a hash of all that is compiled."""
        paths = [SOURCES / self.source, *sorted(SOURCES.glob("*.h"))]
        if self.header:
            paths.append(Path(self.folder) / self.header)
        digest = hashlib.sha256()
        for path in paths:
            digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()

    def command(self, compiler: Compiler) -> tuple[str, ...]:
        """Return the command without its output."""
        include = (f"-I{self.folder}",) if self.folder else ()
        return (*compiler.command, *FLAGS, *include, str(SOURCES / self.source))


KERNEL = Recipe("kernel.c")


def build(recipe: Recipe = KERNEL) -> Path:
    """Return the shared library, built now where the cache has none.

    Raises:
        UnavailableError: there is no compiler, or none could build it.
    """
    for compiler in compilers():
        target = _target(recipe, compiler)
        if target.exists() or (not _failure(target).exists() and _compile(recipe.command(compiler), target)):
            return target
    why = missing(recipe) or Missing("it was built and is gone", "try again")
    raise UnavailableError(f"{recipe.source} cannot be built: {why.reason}\nCure: {why.cure}")


def missing(recipe: Recipe = KERNEL) -> Missing | None:
    """Say why a library cannot be had here; None where it is built, or may be: nothing is built to find out."""
    found = compilers()
    if not found:
        return Missing("there is no C compiler", CURE)
    failures = [_failure(_target(recipe, compiler)) for compiler in found]
    if not all(failure.exists() for failure in failures):
        return None
    told = failures[0].read_text().strip()
    return Missing(f"the C compiler failed (delete {failures[0]} to try again): {told}", CURE)


def compiled_by() -> str | None:
    """Return the version of the compiler that builds the kernel here; None where the kernel cannot be had."""
    usable = (compiler for compiler in compilers() if not _failure(_target(KERNEL, compiler)).exists())
    return next((compiler.version() for compiler in usable), None)


def _compile(command: Sequence[str], target: Path) -> bool:
    """Build under a private name, then rename: another process sees all of it or nothing."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as folder:
        built = Path(folder) / target.name
        if problem := _run([*command, "-o", str(built)]):
            _failure(target).write_text(problem)
            return False
        built.replace(target)
    return True


def _run(command: Sequence[str]) -> str | None:
    """Return what went wrong, or None."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return (
        None
        if done.returncode == 0
        else f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()[-500:]}"
    )


def _target(recipe: Recipe, compiler: Compiler) -> Path:
    words = (recipe.digest(), compiler.identity, *recipe.command(compiler), _cpu())
    digest = hashlib.sha256("\0".join(words).encode()).hexdigest()
    return _cache() / f"{Path(recipe.source).stem}-{digest[:24]}.so"


def _failure(target: Path) -> Path:
    return target.with_suffix(".failed")


@cache
def _cpu() -> str:
    """Return what ``-march=native`` looks at: a home directory may be shared by unequal machines."""
    lines: list[str] = []
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    told = [
        line for line in lines if line.split(":")[0].strip().lower() in {"model name", "flags", "features", "cpu part"}
    ]
    return "\n".join((platform.machine(), platform.processor(), *told))


def _cache() -> Path:
    """Return a directory that only this user can write to, since code is loaded from it."""
    return _usable(os.environ.get("XDG_CACHE_HOME") or "~/.cache") or _temporary()


def _usable(root: str) -> Path | None:
    with suppress(OSError, RuntimeError):  # RuntimeError: no home
        folder = Path(root).expanduser() / "rnn-harness"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    return None


@cache
def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="rnn-harness-"))
