"""The error tree. A message says *what* is wrong, *which* name or file it concerns and *the fix*.

HarnessError
├── UsageError                 bad option, plan, name or file: exit 2, before any trial runs
│   ├── UnknownNameError       no such backend, task, cell, variant, option
│   ├── UnavailableError       a backend whose library is missing, a broken plugin asked for by name
│   │   └── BrokenAnswerError  a backend that fails to answer a question
│   ├── CorpusError            a text that cannot be used
│   └── StoreError             a store that cannot be opened, read or written
├── PluginError                a plugin broke the contract (wrong shape, dtype, None); named
├── UnsupportedError           a combination that cannot run: status ``unsupported``
├── ParityError                a loss or gradient differs from the reference: ``parity_failed``
├── DivergedError              a loss or gradient that is not finite: status ``diverged``
└── DeviceMemoryError          the device is out of memory: status ``out_of_memory``

Only the command line turns errors into exit codes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def with_fix(problem: str, fix: str) -> str:
    """Return the message of an error: the problem, and what the user can do about it."""
    return f"{problem}. Fix: {fix}"


class HarnessError(Exception):
    """Base of every error that the harness raises on purpose."""


class UsageError(HarnessError):
    """The request cannot be run as given."""


class UnknownNameError(UsageError):
    """No such name; the message lists the nearest names.

    Args:
        kind: what the name is for, such as ``backend``.
        name: the unknown name.
        available: the names that exist.
        command: a command that lists them.
    """

    def __init__(self, kind: str, name: str, available: Iterable[str], command: str = "") -> None:
        self.kind, self.name = kind, name
        names = sorted(available)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        did_you_mean = f" Did you mean {' or '.join(near)}?" if near else ""
        choices = f" Available: {', '.join(names)}." if names else " None is available."
        listing = f" List them with: {command}" if command else ""
        super().__init__(f"unknown {kind} {name!r}.{did_you_mean}{choices}{listing}")


class UnavailableError(UsageError):
    """It exists but cannot be used here; the message gives the reason and the fix."""


class BrokenAnswerError(UnavailableError):
    """A method of a backend fails; the message names the backend, the method and the fix."""


class CorpusError(UsageError):
    """A text corpus cannot be used; the message names the file, the position and the fix."""


class StoreError(UsageError):
    """A store cannot be opened, read or written; the file is never altered."""


class PluginError(HarnessError):
    """A plugin broke the contract; the message names the plugin and what was expected."""


class UnsupportedError(HarnessError):
    """This backend, model or trial cannot run; the message says why."""


class ParityError(HarnessError):
    """A gradient or the loss differs from the reference by more than rounding explains."""


class DivergedError(HarnessError):
    """A loss or gradient is not finite."""


class DeviceMemoryError(HarnessError):
    """The device ran out of memory."""
