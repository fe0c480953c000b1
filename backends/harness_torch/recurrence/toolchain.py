"""Whether ``torch.compile`` can build its programs here, without importing torch."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from harness.contract import UnavailableError, UnsupportedError
from harness_native import private_folder

CACHE = "TORCHINDUCTOR_CACHE_DIR"
COMPILER_FIX = "install a C++ compiler and Python's headers, on Debian: apt install g++ python3-dev"
COMPILERS = ("g++", "clang++", "c++")


def why_no_compiler() -> str | None:
    """Return what is missing for ``torch.compile`` on a CPU, or None."""
    if sys.platform == "win32":
        compilers: tuple[str, ...] = ("cl",)
    else:
        # $CXX as a whole, options and all: torch.compile takes it for the name of one program.
        compilers = (os.environ["CXX"],) if os.environ.get("CXX") else COMPILERS
    if not any(shutil.which(name) for name in compilers):
        return f"torch.compile needs a C++ compiler: {' or '.join(compilers)} is not on the path"
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if header.exists():
        return None
    return f"torch.compile needs Python's headers: {header} is not there"


def keep_programs_private() -> None:
    """Let ``torch.compile`` keep its programs in the user's private folder, unless one is set.

    By default it loads them, pickles included, from a temporary folder of a fixed name, which
    another user may have made.

    Raises:
        UnsupportedError: there is no such folder.
    """
    if os.environ.get(CACHE):
        return
    try:
        os.environ[CACHE] = str(private_folder("inductor"))
    except UnavailableError as error:
        raise UnsupportedError(str(error)) from error
