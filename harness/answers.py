"""What a backend answers before anything runs, asked so that a broken one is named and costs nobody else anything.

Each question but ``availability`` raises ``UnavailableError``, which names the backend, the question and the cure,
where the backend fails to answer.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

from harness.contract.backend import Available, Backend, Missing
from harness.contract.cell import Cell
from harness.contract.dtypes import Dtype
from harness.contract.errors import UnavailableError
from harness.contract.trial import Trial

CURE = "upgrade the package that offers it, or report it to its author"
Fits = Callable[[Any], bool]


def availability(backend: Backend) -> Available | Missing:
    """Return the backend's answer; one that fails to answer is missing, with its words."""
    try:
        answer: Available | Missing = _ask(backend, "availability", lambda a: isinstance(a, (Available, Missing)))
    except UnavailableError as error:
        return Missing(without_name(backend, error).removesuffix(f". Cure: {CURE}"), CURE)
    return answer


def variants(backend: Backend, cell: Cell) -> tuple[str, ...]:
    """Return the ways in which the backend runs this cell, the plainest first; none where it cannot."""
    return tuple(_ask(backend, "variants", _words, cell))


def missing_variants(backend: Backend) -> Mapping[str, Missing]:
    """Return the variants that cannot be offered here, with the reason and the cure."""
    answer: Mapping[str, Missing] = _ask(backend, "missing_variants", _pairs_with(Missing))
    return answer


def default_variant(backend: Backend, cell: Cell, trial: Trial) -> str:
    """Return the variant that the backend takes for this cell and size: one of those that it offers."""
    answer: str = _ask(backend, "default_variant", lambda a: isinstance(a, str), cell, trial)
    if answer not in variants(backend, cell):
        raise _broken(backend, f"default_variant() returned {answer!r}, which variants() does not offer")
    return answer


def deviation(backend: Backend, cell: Cell, variant: str) -> str | None:
    """Return how the variant's function differs from the cell's equations, or None."""
    answer: str | None = _ask(backend, "deviation", lambda a: a is None or isinstance(a, str), cell, variant)
    return answer


def devices(backend: Backend) -> tuple[str, ...]:
    """Return the devices that the backend can use here, at least one, the best first."""
    found = tuple(_ask(backend, "devices", _words))
    if not found:
        raise _broken(backend, "devices() returned none")
    return found


def dtypes(backend: Backend, device: str) -> tuple[Dtype, ...]:
    """Return the number formats that the backend computes in on this device."""
    return cast("tuple[Dtype, ...]", tuple(_ask(backend, "dtypes", _words, device)))


def versions(backend: Backend) -> Mapping[str, str]:
    """Return the versions of the backend's libraries."""
    answer: Mapping[str, str] = _ask(backend, "versions", _pairs_with(str))
    return answer


def environment(backend: Backend, threads: int, *devices: int) -> dict[str, str]:
    """Return the variables that bound the threads of the backend's libraries."""
    return dict(_ask(backend, "environment", _variables, threads, *devices))


def without_name(backend: Backend, error: UnavailableError) -> str:
    """Return what one of these questions raised, from ``broken`` on, for who has named the backend already."""
    return str(error).removeprefix(_named(backend))


def _words(answer: Any) -> bool:
    return isinstance(answer, (tuple, list)) and all(isinstance(word, str) for word in answer)


def _pairs_with(kind: type) -> Fits:
    return lambda answer: (
        isinstance(answer, Mapping)
        and all(isinstance(name, str) and isinstance(value, kind) for name, value in answer.items())
    )


def _variables(answer: Any) -> bool:
    """Say whether a process can be started with these variables."""
    return _pairs_with(str)(answer) and not any(
        name == "" or b"=" in os.fsencode(name) or b"\0" in os.fsencode(name + value) for name, value in answer.items()
    )


def _ask(backend: Backend, question: str, fits: Fits, *arguments: Any) -> Any:
    try:
        with _stdout_for_results():
            answer = getattr(backend, question)(*arguments)
            good = fits(answer)
    except (Exception, SystemExit) as error:
        raise _broken(backend, f"{question}() raised {type(error).__name__}: {error}") from error
    if not good:
        raise _broken(backend, f"{question}() returned {answer!r}")
    return answer


def _stdout_for_results() -> contextlib.AbstractContextManager[Any]:
    """Keep what a plugin prints off stdout; the stream is all threads' own, so that of the main one alone."""
    beside_others = threading.current_thread() is not threading.main_thread()
    return contextlib.nullcontext() if beside_others else contextlib.redirect_stdout(sys.stderr)


def _broken(backend: Backend, why: str) -> UnavailableError:
    return UnavailableError(f"{_named(backend)}broken: {why}. Cure: {CURE}")


def _named(backend: Backend) -> str:
    return f"backend {backend.name!r} is "
