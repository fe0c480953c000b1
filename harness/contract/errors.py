"""The error tree. A message says *what* is wrong, *which* thing it concerns and *the fix*.

HarnessError
├── UsageError                 bad option, plan, name or file: exit 2, before any trial runs
│   ├── UnknownNameError       no such backend, task, cell, variant, option
│   ├── UnavailableError       a backend whose library is missing, a broken plugin asked for by name
│   ├── CorpusError            a text that cannot be used
│   └── StoreError             a store that cannot be opened, read or written
├── PluginError                a plugin broke the contract (wrong shape, dtype, None); named
├── UnsupportedError           a combination that cannot run: status ``unsupported``
├── ParityError                a loss or gradient that is not the reference's: status ``parity_failed``
├── DivergedError              a loss or gradient that is not finite: status ``diverged``
└── DeviceMemoryError          the device is out of memory: status ``out_of_memory``

Only the command line turns errors into exit codes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def with_fix(problem: str, fix: str) -> str:
    """Return the words of an error: the problem, and what the user can do about it."""
    return f"{problem}. Fix: {fix}"


class HarnessError(Exception):
    """Base of every error that the harness raises on purpose."""


class UsageError(HarnessError):
    """The request cannot be run as given."""


class UnknownNameError(UsageError):
    """No thing of that kind has this name; lists the nearest names and where to see all."""

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "") -> None:
        self.kind, self.name = kind, name
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        did_you_mean = f" Did you mean {' or '.join(near)}?" if near else ""
        available = f" Available: {', '.join(names)}." if names else " None is available."
        listing = f" List them with: {where}" if where else ""
        super().__init__(f"unknown {kind} {name!r}.{did_you_mean}{available}{listing}")


class UnavailableError(UsageError):
    """The thing exists but cannot be used here; the message carries the reason and the fix."""


class BrokenAnswerError(UnavailableError):
    """A backend fails to answer a question; the message names it, the question and the fix."""


class CorpusError(UsageError):
    """A text corpus cannot be used; the message names the file, the place and the fix."""


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
