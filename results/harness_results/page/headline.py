"""The headline of a page: who learns, who is fast, whose gradient reaches back, in sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.contract.records.record import Record
from harness.contract.wording import counted
from harness_results.page import fast, learns, reaches
from harness_results.study.study import Study, studies
from harness_results.study.verdicts.fastest import contests
from harness_results.text.format import one_line
from harness_results.text.words import listed, span

MOST_TASKS = 8


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    Attributes:
        question: its heading.
        sentences: for each task, its name and the sentence about it.
        more: how many tasks there are beyond ``MOST_TASKS``, in words; empty if none.
        basis: what the sentences are based on, and what they do not say.
    """

    question: str
    sentences: tuple[tuple[str, str], ...]
    more: str
    basis: str


def headline(records: Sequence[Record]) -> list[Answer]:
    """Return the three answers; engines that compute another function are left out."""
    like = [record for record in records if not _is_unlike(record)]
    tasks, others = studies(like), _others(records)
    speeds = dict(zip((study.task for study in tasks), contests(tasks), strict=True))
    questions = (
        ("Who learns?", learns.who_learns, learns.basis),
        (
            "Who is fast?",
            lambda some: fast.who_is_fast(some, speeds[some[0].trial.task]),
            fast.basis,
        ),
        ("Whose gradient reaches back?", reaches.whose_gradient_reaches_back, reaches.basis),
    )
    more = ""
    if len(tasks) > MOST_TASKS:
        more = f"{counted(len(tasks) - MOST_TASKS, 'more task')}: see the tables."
    return [
        Answer(question, tuple(_sentences(tasks, answer)), more, f"{basis(like)}{others}")
        for question, answer, basis in questions
    ]


def _is_unlike(record: Record) -> bool:
    return "deviation" in record.details


def _others(records: Sequence[Record]) -> str:
    """Return what is left out because it computes another function than its cell."""
    unlike = [record.trial for record in records if _is_unlike(record)]
    names = dict.fromkeys(one_line(f"{trial.cell} of {trial.engine}") for trial in unlike)
    return f" Left out because it computes another function: {listed(names)}." if names else ""


def _sentences(
    tasks: Sequence[Study], answer: Callable[[Sequence[Record]], str]
) -> Iterator[tuple[str, str]]:
    for study in tasks[:MOST_TASKS]:
        yield one_line(study.task), f"{answer(study.records)}."


def contents(records: Sequence[Record]) -> str:
    """Return what the page is about, in one sentence."""
    trials = [record.trial for record in records]
    ok = sum(record.status == "ok" for record in records)
    ended = "all ended well" if ok == len(records) else f"{ok:,} ended well"
    parts = []
    for axis in ("task", "cell", "engine"):
        names = dict.fromkeys(getattr(trial, axis) for trial in trials)
        parts.append(f"{counted(len(names), axis)} ({listed(map(one_line, names))})")
    lengths = span([str(length) for length in sorted({trial.length for trial in trials})])
    return f"{counted(len(records), 'trial')}, {ended}: {listed(parts)}, T = {lengths}."
