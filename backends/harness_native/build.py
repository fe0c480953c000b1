"""Builds C once per source, compiler, CPU and flags, in the user's cache; safe for concurrency."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.contract import Missing, UnavailableError
from harness.contract.errors import with_fix
from harness_native.cache import NO_FOLDER, known_folder, private_folder
from harness_native.compiler import Compiler, compilers, fix

SOURCES = Path(__file__).parent
FLAGS = (
    *("-std=gnu11", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno"),
    *("-shared", "-fPIC", "-fvisibility=hidden", "-pthread"),
)
TIMEOUT_SECONDS = 300
FOLDER = "native"

# By file name, why a build failed. This process does not try it again; the next one may.
_problems: dict[str, Missing] = {}


@dataclass(frozen=True)
class Recipe:
    """A shared library to build: a source of this package, and a header of another package.

    Attributes:
        source: the file's name.
        folder, header: of another package.
        flags: for the compiler, after the usual ones.
        text: the source, if it was generated: then no file of this package has it.
    """

    source: str
    folder: str = ""
    header: str = ""
    flags: tuple[str, ...] = ()
    text: str = ""

    def digest(self) -> str:
        """Return a hash of all sources and flags; the folders do not count.

        Raises:
            OSError: a file cannot be read.
        """
        paths = sorted(SOURCES.glob("*.h"))
        if not self.text:
            paths.insert(0, SOURCES / self.source)
        if self.header:
            paths.append(Path(self.folder) / self.header)
        digest = hashlib.sha256("\0".join((*FLAGS, *self.flags, self.text)).encode())
        for path in paths:
            digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()

    def command(self, compiler: Compiler) -> tuple[str, ...]:
        """Return the command without its output."""
        include = (f"-I{self.folder}",) if self.folder else ()
        if self.text:
            include = (*include, f"-I{SOURCES}")
        return (*compiler.command, *FLAGS, *self.flags, *include)


KERNEL = Recipe("kernel.c")


def build(recipe: Recipe = KERNEL) -> Path:
    """Return the shared library, built now if the cache has none.

    Raises:
        UnavailableError: there is no compiler, none could build it, or no folder can hold it.
    """
    attempts = _attempts(recipe)
    if isinstance(attempts, Missing):
        raise _unavailable(recipe, attempts)
    try:
        folder = private_folder(FOLDER)
    except UnavailableError:
        _problems.update({name: NO_FOLDER for _, name in attempts})
        raise
    for compiler, name in attempts:
        target = folder / name
        if _problem(name) is not None:
            continue
        if not target.exists():
            _compile(recipe, compiler, target)
        if target.exists():  # perhaps by another process's work
            return target
    raise _unavailable(recipe, missing(recipe) or Missing("it was built and is gone", "try again"))


def missing(recipe: Recipe = KERNEL) -> Missing | None:
    """Say why a library is not available here; None if it is built or was not tried yet."""
    attempts = _attempts(recipe)
    if isinstance(attempts, Missing):
        return attempts
    problems = [_problem(name) for _, name in attempts]
    return None if None in problems else problems[0]


def compiled_by() -> str | None:
    """Return the version of the kernel's compiler here; None if the kernel is not available."""
    attempts = _attempts(KERNEL)
    if isinstance(attempts, Missing):
        return None
    return next((compiler.version() for compiler, name in attempts if _problem(name) is None), None)


def _unavailable(recipe: Recipe, why: Missing) -> UnavailableError:
    return UnavailableError(with_fix(f"{recipe.source} cannot be built: {why.reason}", why.fix))


def _attempts(recipe: Recipe) -> list[tuple[Compiler, str]] | Missing:
    """Return the compilers to try, the preferred first, each with the name of its library."""
    usable = compilers()
    if isinstance(usable, Missing):
        return usable
    try:
        digest = recipe.digest()
    except OSError as error:
        return Missing(
            f"a source cannot be read: {error}", "install the package that it belongs to again"
        )
    return [(compiler, _name(recipe, digest, compiler)) for compiler in usable]


def _name(recipe: Recipe, digest: str, compiler: Compiler) -> str:
    digest_of_all = hashlib.sha256(f"{digest} {compiler.identity} {cpu()}".encode()).hexdigest()
    return f"{Path(recipe.source).stem}-{digest_of_all[:24]}.so"


def _problem(name: str) -> Missing | None:
    """Return why a build failed, in this process or before; None if it is built or untried."""
    folder = known_folder(FOLDER)
    if folder is not None and (folder / name).exists():
        return None
    if folder is not None:
        failure = _failure(folder / name)
        with suppress(OSError):
            message = failure.read_text().strip()
            return Missing(
                f"the C compiler failed (delete {failure} to try again): {message}", fix()
            )
    return _problems.get(name)


def _compile(recipe: Recipe, compiler: Compiler, target: Path) -> None:
    """Build under a private name, then rename: another process sees all of it or nothing.

    A generated source stays beside its library.

    A compiler's error would occur again, so it is written to a file for other processes. A full
    disk, or a compiler that is too slow or killed, is a problem of this process alone.
    """
    command = recipe.command(compiler)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="building-") as folder:
            built, source = Path(folder) / target.name, SOURCES / recipe.source
            if recipe.text:
                source = Path(folder) / target.with_suffix(".c").name
                source.write_text(recipe.text)
            done = subprocess.run(
                [*command, str(source), "-o", str(built)],
                capture_output=True,
                text=True,
                check=False,
                errors="replace",
                timeout=TIMEOUT_SECONDS,
            )
            if done.returncode == 0:
                if recipe.text:
                    source.replace(target.with_suffix(".c"))
                built.replace(target)
                return
    except (OSError, subprocess.SubprocessError) as error:
        _problems[target.name] = Missing(f"the C compiler failed: {error}", fix())
        return
    said = done.stderr.strip(" \n.")[-500:]
    message = f"{command[0]} ended with status {done.returncode}" + (f": {said}" if said else "")
    _problems[target.name] = Missing(f"the C compiler failed: {message}", fix())
    if done.returncode > 0 and not target.exists():
        with suppress(OSError):
            _failure(target).write_text(message)


def _failure(target: Path) -> Path:
    return target.with_suffix(".failed")


def cpu_digest() -> str:
    """Return a hash of the CPU's model and features: compiled code runs on no other."""
    return hashlib.sha256(cpu().encode()).hexdigest()


@cache
def cpu() -> str:
    """Return what ``-march=native`` depends on: unequal machines may share a home directory."""
    lines: list[str] = []
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    features = [
        line
        for line in lines
        if line.split(":")[0].strip().lower() in {"model name", "flags", "features", "cpu part"}
    ]
    return "\n".join((platform.machine(), platform.processor(), *features))
