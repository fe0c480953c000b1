"""From an exception to the status and reason of a failed trial."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from harness.contract import (
    Backend,
    BrokenAnswerError,
    Cell,
    DeviceMemoryError,
    DivergedError,
    HarnessError,
    PluginError,
    UnsupportedError,
)
from harness.contract.errors import ParityError
from harness.contract.wording import error_text, mebibytes, shortened, words_of

LONGEST_MESSAGE = 1500  # characters of a plugin's message, so that our own words are not cut off
LONGEST_TRACEBACK = 16_384
OLD_CALL = (
    "this engine calls a cell as step(ops, zx, zh, state) or step_gradient; it must call "
    "harness.recurrence.step_of(cell), or derive(cell) for its gradient (docs/writing-a-backend.md)"
)


@dataclass(frozen=True)
class Outcome:
    """A status with its reason, and a traceback if the status does not explain the failure."""

    status: str
    reason: str
    traceback: str | None = None


_STATUSES: dict[type[HarnessError], str] = {
    UnsupportedError: "unsupported",
    DivergedError: "diverged",
    ParityError: "parity_failed",
}


def outcome_of(
    error: BaseException, backend: Backend | None, label: str, peak_bytes: int | None
) -> Outcome:
    """Return the outcome of a trial that ended with ``error``.

    Args:
        error: what was raised.
        backend: may recognise its engine's out-of-memory errors.
        label: the plugin and its distribution, for errors that are not the harness's own.
        peak_bytes: the most memory seen, for the reason.
    """
    error = _most_telling(error, backend)
    if _is_out_of_memory(error, backend):
        seen = mebibytes(peak_bytes)
        return Outcome("out_of_memory", f"out of memory: {_message(error)}; peak seen: {seen}")
    for kind, status in _STATUSES.items():
        if isinstance(error, kind):
            return Outcome(status, words_of(error))
    trace = _both_ends("".join(traceback.format_exception(error)))
    if isinstance(error, HarnessError):
        words = words_of(error)
        if isinstance(error, PluginError | BrokenAnswerError) and label not in words:
            words = f"{shortened(words, LONGEST_MESSAGE)}; {label}"
        return Outcome("failed", words, trace)
    if isinstance(error, SystemExit):
        code = shortened(repr(error.code), LONGEST_MESSAGE)
        return Outcome("failed", f"sys.exit({code}) was called; {label}", trace)
    advice = f": {OLD_CALL}" if is_old_call(error) else ""
    return Outcome("failed", f"{_message(error)}{advice}; {label}", trace)


def is_old_call(error: BaseException) -> bool:
    """Say whether an engine calls a cell as engines did before ``step`` was traced.

    A step that was proven has all that it asks for, so what it lacks is the engine's fault.
    """
    if not isinstance(error, AttributeError):
        return False
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    in_step = frames[-1].f_code.co_name == "step" if frames else False
    return isinstance(error.obj, Cell) or (
        in_step and isinstance(frames[-1].f_locals.get("self"), Cell)
    )


def _most_telling(error: BaseException, backend: Backend | None) -> BaseException:
    """Return the cause of a broken answer if a status exists for the cause, else the error."""
    cause = error.__cause__ if isinstance(error, BrokenAnswerError) else None
    if cause is None or not words_of(cause):
        return error
    has_status = isinstance(cause, UnsupportedError) or _is_out_of_memory(cause, backend)
    return cause if has_status else error


def blamed(error: BaseException, labels: Mapping[type, str]) -> str | None:
    """Return the label of the class whose package is innermost in the traceback, if any."""
    by_package = {_package(kind.__module__): label for kind, label in labels.items()}
    frames = [
        _package(frame.f_globals.get("__name__", ""))
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return next((by_package[name] for name in reversed(frames) if name in by_package), None)


def _package(module: str) -> str:
    """Return the top package of a module; within the harness, its room."""
    parts = module.split(".")
    return ".".join(parts[:2] if parts[0] == "harness" else parts[:1])


def _is_out_of_memory(error: BaseException, backend: Backend | None) -> bool:
    if isinstance(error, MemoryError | DeviceMemoryError):
        return True
    try:
        return backend is not None and backend.is_out_of_memory(error)
    except Exception:  # noqa: BLE001 (a failing plugin must not hide the error)
        return False


def _message(error: BaseException) -> str:
    return shortened(error_text(error), LONGEST_MESSAGE)


def _both_ends(text: str) -> str:
    """Return a traceback; if it is too long, without its middle."""
    half = LONGEST_TRACEBACK // 2
    if len(text) <= LONGEST_TRACEBACK:
        return text
    return f"{text[:half]}\n... ({len(text) - 2 * half} characters left out)\n{text[-half:]}"
