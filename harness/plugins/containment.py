"""Undoes and reports what a plugin changes in this process while it is loaded."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from time import monotonic
from typing import Any

# The functions of these modules decide what is measured and stored.
PATCHED = ("builtins", "json", "math", "numpy", "os", "time")
TOLERATED_SECONDS = 0.01  # difference in an alarm's time
STREAMS = ("stdin", "stdout", "stderr")

Keep = Callable[[list[str]], AbstractContextManager[None]]  # undoes changes and lists them


class ExitCalledError(BaseException):
    """``os._exit`` was called. It is not an ``Exception``: a plugin's handler must not catch it."""


@contextlib.contextmanager
def contained(*, variables: bool = True) -> Iterator[list[str]]:
    """Undo what the code inside changes. At the end, the list holds the changes in words.

    These are the streams and their descriptors, the working directory, ``sys.path``, modules that
    it made unimportable, a lowered recursion limit, signal handlers, alarms, functions of
    ``PATCHED`` and, with ``variables``, the environment. Inside, ``os._exit`` raises
    ``ExitCalledError``.
    """
    changes: list[str] = []
    keeps: list[Keep] = [off_stdout, _directory, _import_path, _modules, _recursion_limit]
    keeps += [_signals, _functions, _no_exit]
    if variables:
        keeps.append(_environment)
    with ExitStack() as stack:
        for keep in keeps:
            stack.enter_context(keep(changes))
        yield changes


class _Shield:
    """Forwards everything to a stream except ``close``."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def close(self) -> None:
        """Do nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def off_stdout(changes: list[str]) -> Iterator[None]:
    """Send what is printed or written to descriptor 1 to stderr. Stdout is for results."""
    before = {name: getattr(sys, name) for name in STREAMS}
    shield = _Shield(sys.stderr)
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    copies = {number: _copied(number) for number in range(len(STREAMS))}
    if copies[1] is not None and copies[2] is not None:
        os.dup2(2, 1)
    sys.stdout = sys.stderr = shield
    try:
        yield
    finally:
        if sys.stdout is not shield or sys.stderr is not shield or sys.stdin is not before["stdin"]:
            changes.append("replaced a standard stream")
        _flush(sys.stdout, before["stdout"], sys.__stdout__)
        for number, copy in copies.items():
            if copy is not None:
                os.dup2(copy, number)
                os.close(copy)
        for number, (name, stream) in enumerate(before.items()):
            if getattr(stream, "closed", False) and copies[number] is not None:
                changes.append(f"closed sys.{name}")
                stream = open(number, "w" if number else "r", encoding="utf-8", closefd=False)  # noqa: PLW2901, SIM115
            setattr(sys, name, stream)


def _flush(*streams: Any) -> None:
    """Flush these streams and those of the C library."""
    for stream in streams:
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.suppress(Exception):
        ctypes.CDLL(None).fflush(None)


def _copied(descriptor: int) -> int | None:
    try:
        return os.dup(descriptor)
    except OSError:  # it is closed
        return None


@contextlib.contextmanager
def _directory(changes: list[str]) -> Iterator[None]:
    try:
        before = os.getcwd()  # noqa: PTH109
    except OSError:  # the directory was deleted
        before = None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if before is not None and os.getcwd() != before:  # noqa: PTH109
                changes.append("changed the working directory")
        if before is not None:
            with contextlib.suppress(OSError):
                os.chdir(before)


@contextlib.contextmanager
def _import_path(changes: list[str]) -> Iterator[None]:
    """Keep all entries of ``sys.path``. A plugin may add some."""
    path, before = sys.path, list(sys.path)
    try:
        yield
    finally:
        now = sys.path if isinstance(sys.path, list) else []
        sys.path = path
        if not all(entry in now for entry in before):
            changes.append("removed entries of sys.path")
            path[:] = [*before, *(entry for entry in now if entry not in before)]
        elif now is not path:
            path[:] = now


@contextlib.contextmanager
def _modules(changes: list[str]) -> Iterator[None]:
    """Let every module be imported again that the code inside blocked with None."""
    before = dict(sys.modules)
    try:
        yield
    finally:
        blocked = sorted(
            name
            for name, module in dict(sys.modules).items()  # threads may import
            if module is None and before.get(name, name) is not None
        )
        for name in blocked:
            if name in before:
                sys.modules[name] = before[name]
            else:
                del sys.modules[name]
        if blocked:
            changes.append(f"blocked the import of {', '.join(blocked)}")


@contextlib.contextmanager
def _recursion_limit(changes: list[str]) -> Iterator[None]:
    before = sys.getrecursionlimit()
    try:
        yield
    finally:
        if sys.getrecursionlimit() < before:
            sys.setrecursionlimit(before)
            changes.append("lowered the recursion limit")


@contextlib.contextmanager
def _signals(changes: list[str]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    start, alarm = monotonic(), _alarm_seconds()
    try:
        yield
    finally:
        due = max(0.001, alarm - (monotonic() - start)) if alarm else 0.0
        if abs(_alarm_seconds() - due) > TOLERATED_SECONDS:
            signal.setitimer(signal.ITIMER_REAL, due)
            changes.append("set an alarm")
        changed = [
            number for number, handler in before.items() if signal.getsignal(number) is not handler
        ]
        for number in changed:
            if (handler := before[number]) is not None:
                signal.signal(number, handler)
        if changed:
            numbers = ", ".join(map(str, sorted(changed)))
            changes.append(f"changed the handlers of signals ({numbers})")


def _alarm_seconds() -> float:
    """Return the seconds until the alarm; 0 if none is set."""
    return signal.getitimer(signal.ITIMER_REAL)[0] if hasattr(signal, "getitimer") else 0.0


@contextlib.contextmanager
def _functions(changes: list[str]) -> Iterator[None]:
    modules = [sys.modules[name] for name in PATCHED if name in sys.modules]
    before = [(module, dict(vars(module))) for module in modules]
    try:
        yield
    finally:
        for module, names in before:
            now = vars(module)
            replaced = [
                name
                for name, value in names.items()
                if callable(value) and now.get(name) is not value
            ]
            for name in replaced:
                setattr(module, name, names[name])
            if replaced:
                names_in_full = ", ".join(f"{module.__name__}.{name}" for name in replaced)
                changes.append(f"replaced {names_in_full}")


@contextlib.contextmanager
def _no_exit(changes: list[str]) -> Iterator[None]:  # noqa: ARG001
    """Let ``os._exit`` raise an error in this process. In a forked process it works as usual."""
    leave, owner = os._exit, os.getpid()

    def refuse(status: int) -> None:
        if os.getpid() != owner:
            leave(status)
        raise ExitCalledError(f"it called os._exit({status!r})")

    os._exit = refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        os._exit = leave


@contextlib.contextmanager
def _environment(changes: list[str]) -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        now = dict(os.environ)
        changed = sorted(
            name for name in before.keys() | now.keys() if before.get(name) != now.get(name)
        )
        for name in changed:
            if name in before:
                os.environ[name] = before[name]
            else:
                os.environ.pop(name, None)
        if changed:
            changes.append(f"changed environment variables ({', '.join(changed)})")
