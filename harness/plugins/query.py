"""Safe calls to a backend's metadata methods. A broken backend is named and harms no other.

Each function raises ``BrokenAnswerError`` if the method fails or returns something else than the
contract says. The error names the backend, the method and the fix. ``available_or_missing`` does
not raise.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from harness.contract.backend import Available, Backend, Missing
from harness.contract.cell import Cell
from harness.contract.dtypes import Dtype
from harness.contract.errors import BrokenAnswerError, UnsupportedError, with_fix
from harness.contract.model import Model
from harness.contract.trial import Trial
from harness.contract.wording import error_text, shortened, text_of
from harness.plugins.containment import off_stdout

FIX = "upgrade the package that offers it, or report it to its author"
LONGEST = 500  # characters of a returned value or error, so that the rest is not cut off
Answer = TypeVar("Answer")
Value = TypeVar("Value")


class _UnfitError(Exception):
    """The method returned something else than the contract says."""


def availability(backend: Backend) -> Available | Missing:
    """Return ``Available`` if the backend can run here, else what is missing."""
    return _ask(backend, "availability", _available)


def available_or_missing(backend: Backend) -> Available | Missing:
    """Return the same. A backend that fails to answer is ``Missing``, with its error."""
    try:
        return availability(backend)
    except BrokenAnswerError as error:
        return Missing(without_name(backend, error).removesuffix(with_fix("", FIX)), FIX)


def variants(backend: Backend, cell: Cell) -> tuple[str, ...]:
    """Return the variants that run this cell, the plainest first; () if none does."""
    return _ask(backend, "variants", _words, cell)


def all_variants(backend: Backend) -> tuple[str, ...] | None:
    """Return the variants that run some cell; None: only ``variants`` tells."""
    return _ask(backend, "all_variants", lambda answer: None if answer is None else _words(answer))


def missing_variants(backend: Backend) -> dict[str, Missing]:
    """Return the variants that cannot run here, with the reason and the fix."""
    return _ask(backend, "missing_variants", _pairs_with(_missing))


def source(backend: Backend, cell: Cell, language: str) -> str:
    """Return the code that the backend generates for this cell.

    Raises:
        UnsupportedError: the backend generates none for it.
    """
    try:
        return _ask(backend, "source", _sentence, cell, language)
    except BrokenAnswerError as error:
        if isinstance(error.__cause__, UnsupportedError):
            raise error.__cause__ from None
        raise


def default_variant(backend: Backend, cell: Cell, trial: Trial) -> str:
    """Return the variant that the backend uses if none is named. It is one that it offers."""
    return _chosen(backend, "default_variant", cell, trial)


def fastest_variant(backend: Backend, cell: Cell, trial: Trial) -> str:
    """Return the fastest variant for this cell and size. It is one that the backend offers."""
    return _chosen(backend, "fastest_variant", cell, trial)


def deviation(backend: Backend, cell: Cell, variant: str) -> str | None:
    """Return how the variant's function differs from the cell's equations, or None."""
    return _ask(backend, "deviation", _sentence_or_none, cell, variant)


def why_unsupported(backend: Backend, model: Model, trial: Trial) -> str | None:
    """Return why this model or trial cannot run here, or None if it can."""
    return _ask(backend, "why_unsupported", _sentence_or_none, model, trial)


def devices(backend: Backend) -> tuple[str, ...]:
    """Return the devices that the backend can use here, at least one, the best first."""
    names = _ask(backend, "devices", _words)
    if not names:
        raise _broken(backend, "devices() returned none")
    return names


def dtypes(backend: Backend, device: str) -> tuple[Dtype, ...]:
    """Return the number formats that the backend computes in on this device."""
    return cast("tuple[Dtype, ...]", _ask(backend, "dtypes", _words, device))


def versions(backend: Backend) -> dict[str, str]:
    """Return the versions of the backend's libraries."""
    return _ask(backend, "versions", _pairs_with(_word))


def environment(backend: Backend, threads: int, *devices: int) -> dict[str, str]:
    """Return the variables that bound the threads of the backend's libraries."""
    return _ask(backend, "environment", _variables, threads, *devices)


def without_name(backend: Backend, error: BrokenAnswerError) -> str:
    """Return the error's text without the backend's name."""
    return str(error).removeprefix(_named(backend))


def _chosen(backend: Backend, question: str, cell: Cell, trial: Trial) -> str:
    answer = _ask(backend, question, _word, cell, trial)
    if answer not in variants(backend, cell):
        raise _broken(backend, f"{question}() returned {answer!r}, which variants() does not offer")
    return answer


def _word(answer: Any) -> str:
    if not isinstance(answer, str):
        raise _UnfitError
    return answer


def _words(answer: Any) -> tuple[str, ...]:
    if not isinstance(answer, (tuple, list)):
        raise _UnfitError
    return tuple(_word(word) for word in answer)


def _sentence(answer: Any) -> str:
    if not _word(answer).strip():
        raise _UnfitError
    return str(answer)


def _sentence_or_none(answer: Any) -> str | None:
    return None if answer is None else _sentence(answer)


def _missing(answer: Any) -> Missing:
    if not isinstance(answer, Missing):
        raise _UnfitError
    return Missing(_sentence(answer.reason), _sentence(answer.fix))


def _available(answer: Any) -> Available | Missing:
    return answer if isinstance(answer, Available) else _missing(answer)


def _pairs_with(read: Callable[[Any], Value]) -> Callable[[Any], dict[str, Value]]:
    def pairs(answer: Any) -> dict[str, Value]:
        if not isinstance(answer, Mapping):
            raise _UnfitError
        return {_word(name): read(value) for name, value in answer.items()}

    return pairs


def _variables(answer: Any) -> dict[str, str]:
    """Return the variables if a process can be started with them."""
    variables = _pairs_with(_word)(answer)
    for name, value in variables.items():
        if name == "" or b"=" in os.fsencode(name) or b"\0" in os.fsencode(name + value):
            raise _UnfitError
    return variables


def _ask(backend: Backend, question: str, read: Callable[[Any], Answer], *arguments: Any) -> Answer:
    """Return the answer as ``read`` copies it; ``read`` raises ``_UnfitError`` if it is invalid."""
    answer = None
    try:
        with _stdout_for_results():
            answer = getattr(backend, question)(*arguments)
            return read(answer)
    except KeyboardInterrupt:
        raise
    except _UnfitError:
        returned = shortened(text_of(answer), LONGEST)
        raise _broken(backend, f"{question}() returned {returned}") from None
    except BaseException as error:
        raised = shortened(error_text(error), LONGEST)
        raise _broken(backend, f"{question}() raised {raised}") from error


def _stdout_for_results() -> contextlib.AbstractContextManager[Any]:
    """Send what a plugin prints to stderr. All threads share stdout: only the main one does so."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return off_stdout([]) if in_main_thread else contextlib.nullcontext()


def _broken(backend: Backend, why: str) -> BrokenAnswerError:
    return BrokenAnswerError(with_fix(f"{_named(backend)}broken: {why}", FIX))


def _named(backend: Backend) -> str:
    return f"backend {backend.name!r} is "
