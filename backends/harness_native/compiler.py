"""C compilers: the one in $CC, or those on PATH, or the one in a Python package."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from harness.contract import Missing

VARIABLE = "CC"
ON_PATH = ("cc", "gcc", "clang")
PACKAGE = "ziglang"  # Zig's tool chain: `zig cc` is Clang with its headers and libraries
FIX = (
    'pip install "rnn-harness[native]", which brings a C compiler as a package; '
    "or install gcc or clang"
)


@dataclass(frozen=True)
class Compiler:
    """A command that compiles C; ``identity``: its file and options, found without running it."""

    command: tuple[str, ...]
    identity: str

    def version(self) -> str:
        """Return the version number and, in brackets, the first line of ``--version``."""
        line = _first_line(self.command)
        return f"{version_number(line)} ({line})"


def version_number(line: str) -> str:
    """Return the first number with a dot outside of names and brackets; 0 if there is none."""
    match = re.search(r"(?<![\w.-])\d+(?:\.\d+)+", re.sub(r"\([^()]*\)", "", line))
    return match.group() if match else "0"


def compilers() -> tuple[Compiler, ...] | Missing:
    """Return the compilers, the preferred first: $CC if it is set, else PATH's; then the package's.

    Missing if there is none, or if $CC names no program: no other compiler replaces it.
    """
    if sys.platform == "win32":
        return Missing("the kernel is for Linux and macOS", "choose another variant")
    commands = _commands()
    if isinstance(commands, Missing):
        return commands
    by_identity: dict[str, Compiler] = {}
    for command in commands:
        with suppress(OSError):  # the file has gone meanwhile, or cannot be read
            path = shutil.which(command[0])
            if path is None:
                continue
            real = Path(path).resolve()
            status = real.stat()
            words = (str(real), str(status.st_size), str(status.st_mtime_ns), *command[1:])
            identity = " ".join(words)
            by_identity.setdefault(identity, Compiler((path, *command[1:]), identity))
    usable = (*by_identity.values(), *_packaged())
    return usable or Missing("there is no C compiler", FIX)


def fix() -> str:
    """Return how to get a compiler that works, after one has failed."""
    if os.environ.get(VARIABLE):
        return f"set ${VARIABLE} to another C compiler, or unset it"
    return FIX


def _commands() -> list[list[str]] | Missing:
    """Return the commands to look for: the one in $CC with its options, or the usual ones."""
    named = os.environ.get(VARIABLE)
    if not named:
        return [[name] for name in ON_PATH]
    fix = f"set ${VARIABLE} to a C compiler, or unset it"
    try:
        words = shlex.split(named)
    except ValueError as error:
        return Missing(f"${VARIABLE} cannot be read ({error}): {named!r}", fix)
    if not words or shutil.which(words[0]) is None:
        return Missing(f"${VARIABLE} names no program: {named!r}", fix)
    return [words]


def _packaged() -> tuple[Compiler, ...]:
    try:
        identity = f"{PACKAGE} {version(PACKAGE)}"
    except PackageNotFoundError:
        return ()
    return (Compiler((sys.executable, "-m", PACKAGE, "cc"), identity),)


@cache
def _first_line(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return " ".join(command)
    return done.stdout.partition("\n")[0].strip()
