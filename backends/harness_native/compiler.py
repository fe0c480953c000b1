"""C compilers: one on PATH, or the one that comes as a Python package."""

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

ON_PATH = ("cc", "gcc", "clang")
PACKAGE = "ziglang"  # the Zig tool chain, whose `zig cc` is Clang with all headers and libraries that it needs


@dataclass(frozen=True)
class Compiler:
    """A command that compiles C, and what identifies its version without running it."""

    command: tuple[str, ...]
    identity: str

    def version(self) -> str:
        """Return the compiler's version number and, in brackets, the first line that it says of itself."""
        line = _first_line(self.command)
        numbers = re.findall(r"\d+(?:\.\d+)+", line)
        return f"{numbers[-1] if numbers else 0} ({line})"


def compilers() -> tuple[Compiler, ...]:
    """Return the compilers here, the preferred one first: $CC where it is set, else PATH's, then the package's."""
    named = os.environ.get("CC")
    commands = [shlex.split(named)] if named else [[name] for name in ON_PATH]
    found: dict[str, Compiler] = {}
    for command in commands:
        with suppress(OSError):  # it is gone again, or cannot be looked at
            path = shutil.which(command[0])
            if path is None:
                continue
            real = Path(path).resolve()
            status = real.stat()
            identity = f"{real} {status.st_size} {status.st_mtime_ns}"
            found.setdefault(identity, Compiler((path, *command[1:]), identity))
    return (*found.values(), *_packaged())


def _packaged() -> tuple[Compiler, ...]:
    try:
        identity = f"{PACKAGE} {version(PACKAGE)}"
    except PackageNotFoundError:
        return ()
    return (Compiler((sys.executable, "-m", PACKAGE, "cc"), identity),)


@cache
def _first_line(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return " ".join(command)
    return done.stdout.partition("\n")[0].strip()
