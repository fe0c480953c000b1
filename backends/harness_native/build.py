"""Builds the kernel once per source, compiler, CPU and flags, into a cache of the user's; several processes may at once."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
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


def build() -> Path:
    """Return the shared library, built now where the cache has none for this source, compiler and CPU.

    Raises:
        UnavailableError: there is no compiler, or none could build it.
    """
    found = compilers()
    for compiler in found:
        target = _target(compiler)
        if target.exists() or (not _failure(target).exists() and _compile(compiler, target)):
            return target
    reason = missing()
    raise UnavailableError(f"the native kernel cannot be built: {reason.reason if reason else ''}\nCure: {CURE}")


def missing() -> Missing | None:
    """Say why the kernel cannot be had here; None where it is built, or may be: nothing is built to find out."""
    found = compilers()
    if not found:
        return Missing("there is no C compiler", CURE)
    failures = [_failure(_target(compiler)) for compiler in found]
    if not all(failure.exists() for failure in failures):
        return None
    return Missing(f"the C compiler failed: {failures[0].read_text().strip()} (delete {failures[0]} to try again)", CURE)


def compiled_by() -> str | None:
    """Return what the compiler that builds the kernel here, or built it, says of itself; None where it cannot be had."""
    return next((each.described() for each in compilers() if not _failure(_target(each)).exists()), None)


def _compile(compiler: Compiler, target: Path) -> bool:
    """Build into a private name, then rename: another process sees all of it or nothing."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as folder:
        built = Path(folder) / target.name
        if problem := _run([*compiler.command, *FLAGS, "-o", str(built), str(SOURCES / "kernel.c"), "-lm"]):
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
    return None if done.returncode == 0 else f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()[-500:]}"


def _target(compiler: Compiler) -> Path:
    words = (_source_digest(), compiler.identity, " ".join((*compiler.command, *FLAGS)), _cpu())
    return _cache() / f"kernel-{hashlib.sha256('|'.join(words).encode()).hexdigest()[:24]}.so"


def _failure(target: Path) -> Path:
    return target.with_suffix(".failed")


@cache
def _source_digest() -> str:
    digest = hashlib.sha256()
    for path in sorted((*SOURCES.glob("*.c"), *SOURCES.glob("*.h"))):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def _cpu() -> str:
    """Return what ``-march=native`` looks at: a home directory may be shared by unequal machines."""
    lines: list[str] = []
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    told = [line for line in lines if line.split(":")[0].strip().lower() in {"model name", "flags", "features", "cpu part"}]
    return "\n".join((platform.machine(), platform.processor(), *told))


@cache
def _cache() -> Path:
    """Return a directory that only this user can write to, since code is loaded from it."""
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    with suppress(OSError, RuntimeError):  # RuntimeError: no home
        folder = Path(root).expanduser() / "rnn-harness"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="rnn-harness-"))
