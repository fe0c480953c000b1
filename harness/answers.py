"""What a backend answers before anything runs, asked so that a broken one is named and costs nobody else anything."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from harness.contract.backend import Available, Backend, Missing
from harness.contract.cell import Cell
from harness.contract.errors import HarnessError, UnavailableError
from harness.contract.trial import Trial

Value = TypeVar("Value")
CURE = "upgrade the package that offers it, or report it to its author"


def availability(backend: Backend) -> Available | Missing:
    """Return the backend's answer; one that fails to answer is missing, with its words."""
    try:
        answer: Available | Missing = _ask(backend, "availability", (Available, Missing))
    except HarnessError as error:
        return Missing(without_name(backend, error).removesuffix(f". Cure: {CURE}"), CURE)
    return answer


def variants(backend: Backend, cell: Cell) -> tuple[str, ...]:
    """Return the ways in which the backend runs this cell, the plainest first; none where it cannot.

    Raises:
        UnavailableError: it fails to answer.
    """
    return _words(backend, "variants", _ask(backend, "variants", (tuple, list), cell))


def missing_variants(backend: Backend) -> Mapping[str, Missing]:
    """Return the variants that cannot be offered here, with the reason and the cure.

    Raises:
        UnavailableError: it fails to answer.
    """
    return _pairs(backend, "missing_variants", _ask(backend, "missing_variants", Mapping), Missing)


def default_variant(backend: Backend, cell: Cell, trial: Trial) -> str:
    """Return the variant that the backend takes for this cell and size.

    Raises:
        UnavailableError: it fails to answer, or names one that it does not offer.
    """
    answer: str = _ask(backend, "default_variant", str, cell, trial)
    if answer not in variants(backend, cell):
        raise _broken(backend, f"default_variant() returned {answer!r}, which variants() does not offer")
    return answer


def deviation(backend: Backend, cell: Cell, variant: str) -> str | None:
    """Return how the variant's function differs from the cell's equations, or None.

    Raises:
        UnavailableError: it fails to answer.
    """
    answer: str | None = _ask(backend, "deviation", (str, type(None)), cell, variant)
    return answer


def devices(backend: Backend) -> tuple[str, ...]:
    """Return the devices that the backend can use here, at least one, the best first.

    Raises:
        UnavailableError: it fails to answer, or has none.
    """
    found = _words(backend, "devices", _ask(backend, "devices", (tuple, list)))
    if not found:
        raise _broken(backend, "devices() returned none")
    return found


def versions(backend: Backend) -> Mapping[str, str]:
    """Return the versions of the backend's libraries.

    Raises:
        UnavailableError: it fails to answer.
    """
    answer: Mapping[str, str] = _ask(backend, "versions", Mapping)
    return answer


def environment(backend: Backend, threads: int, *devices: int) -> dict[str, str]:
    """Return the variables that bound the threads of the backend's libraries.

    Launches ask this side by side: stdout, which all threads share, stays as it is.

    Raises:
        UnavailableError: it fails to answer.
    """
    return _pairs(backend, "environment", _answer(backend, "environment", Mapping, threads, *devices), str)


def _words(backend: Backend, question: str, answer: Iterable[Any]) -> tuple[str, ...]:
    words = tuple(answer)
    if not all(isinstance(word, str) for word in words):
        raise _broken(backend, f"{question}() returned {words!r}")
    return words


def _pairs(backend: Backend, question: str, answer: Mapping[Any, Any], kind: type[Value]) -> dict[str, Value]:
    if not all(isinstance(name, str) and isinstance(value, kind) for name, value in answer.items()):
        raise _broken(backend, f"{question}() returned {dict(answer)!r}")
    return dict(answer)


def _ask(backend: Backend, question: str, kind: Any, *arguments: Any) -> Any:
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
        return _answer(backend, question, kind, *arguments)


def _answer(backend: Backend, question: str, kind: Any, *arguments: Any) -> Any:
    try:
        answer = getattr(backend, question)(*arguments)
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:
        raise _broken(backend, f"{question}() raised {type(error).__name__}: {error}") from error
    if not isinstance(answer, kind):
        raise _broken(backend, f"{question}() returned {answer!r}")
    return answer


def without_name(backend: Backend, error: HarnessError) -> str:
    """Return what one of these questions raised, from ``broken`` on, for who has named the backend already."""
    return str(error).removeprefix(_named(backend))


def _broken(backend: Backend, why: str) -> UnavailableError:
    return UnavailableError(f"{_named(backend)}broken: {why}. Cure: {CURE}")


def _named(backend: Backend) -> str:
    return f"backend {backend.name!r} is "
