"""The headline of a page: what was found in three lines, and the answers behind it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness.contract.records.record import Record
from harness.contract.wording import counted
from harness_results.page import fast, learns, reaches
from harness_results.study.seeds.summary import each_seed
from harness_results.study.study import Study, studies
from harness_results.study.verdicts.fastest import Contest, contests
from harness_results.text.format import one_line
from harness_results.text.words import listed, span

MOST_TASKS = 8
MOST_NAMES = 4  # cells or tasks of a title
WIDEST = 132  # characters that fit into a line of the headline, 1,440 pixels wide


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


@dataclass(frozen=True)
class Headline:
    """What was found.

    Attributes:
        lines: a word for each question, and its answer in one line.
        in_full: the answers by task, with what they are based on.
    """

    lines: tuple[tuple[str, str], ...]
    in_full: tuple[Answer, ...]


def headline(
    records: Sequence[Record],
    tasks: Sequence[Study] | None = None,
    of_tasks: Sequence[Sequence[Contest]] | None = None,
) -> Headline:
    """Return what was found; engines that compute another function are left out.

    Args:
        records: of all tasks.
        tasks: their studies, if they exist already.
        of_tasks: the contests of each task, likewise.
    """
    like = [record for record in records if not _is_unlike(record)]
    seeds, others = each_seed(like), _others(records)
    if tasks is None or of_tasks is None or len(like) < len(records):
        tasks = studies(like)
        of_tasks = contests(tasks)
    speeds = dict(zip((study.task for study in tasks), of_tasks, strict=True))
    questions = (
        ("Who learns?", learns.who_learns, learns.basis),
        (
            "Who is fast?",
            lambda some: fast.who_is_fast(some, speeds[some[0].trial.task]),
            lambda some: fast.basis(some, of_tasks),
        ),
        ("Whose gradient reaches back?", reaches.whose_gradient_reaches_back, reaches.basis),
    )
    more = ""
    if len(tasks) > MOST_TASKS:
        more = f"{counted(len(tasks) - MOST_TASKS, 'more task')}: see the tables."
    in_full = [
        Answer(question, tuple(_sentences(tasks, answer)), more, f"{basis(seeds)}{others}")
        for question, answer, basis in questions
    ]
    trained_first = sorted(tasks, key=lambda study: not _has_trained(study))
    lines = (
        ("Learning", in_one_line(_by_task(trained_first, learns.in_short))),
        ("Gradient reach", in_one_line(_by_task(trained_first, reaches.in_short))),
        ("Speed", in_one_line(fast.in_short(tasks, of_tasks))),
    )
    return Headline(lines, tuple(in_full))


def title_of(records: Sequence[Record]) -> str:
    """Return what the page holds, such as ``rnn and lstm on char, T = 25 to 100``."""
    trials = [record.trial for record in records]
    cells = dict.fromkeys(one_line(trial.cell) for trial in trials)
    tasks = dict.fromkeys(one_line(trial.task) for trial in trials)
    return f"{listed(cells, MOST_NAMES)} on {listed(tasks, MOST_NAMES)}, T = {_lengths(records)}"


def _has_trained(study: Study) -> bool:
    return any(record.status == "ok" for record in study.records)


def _is_unlike(record: Record) -> bool:
    return "deviation" in record.details


def _others(records: Sequence[Record]) -> str:
    """Return what is left out because it computes another function than its cell."""
    unlike = [record.trial for record in records if _is_unlike(record)]
    names = dict.fromkeys(one_line(f"{trial.cell} of {trial.engine}") for trial in unlike)
    return f" Left out because it computes another function: {listed(names)}." if names else ""


def _by_task(
    tasks: Sequence[Study], clauses: Callable[[Sequence[Record]], Iterable[str]]
) -> Iterator[str]:
    """Yield the first clause of every task, then the second of every task, and so on.

    A clause begins with the names of its tasks if there are several tasks.
    """
    by_task = [list(clauses(study.trials)) for study in tasks]
    for turn in range(max(map(len, by_task), default=0)):
        names: dict[str, list[str]] = defaultdict(list)
        for study, of_task in zip(tasks, by_task, strict=True):
            if turn < len(of_task):
                names[of_task[turn]].append(one_line(study.task))
        for clause, of_tasks in names.items():
            yield f"{listed(of_tasks)}: {clause}" if len(tasks) > 1 else clause


def in_one_line(clauses: Iterable[str]) -> str:
    """Return the first clauses that fit into a line, as a sentence that counts the others."""
    items = list(clauses)
    kept = len(items)
    while kept > 1 and len(_first(items, kept)) > WIDEST:
        kept -= 1
    return _first(items, kept)


def _first(items: Sequence[str], kept: int) -> str:
    left = len(items) - kept
    more = [f"{left} more below"] if left else []
    return f"{'; '.join([*items[:kept], *more])}."


def _sentences(
    tasks: Sequence[Study], answer: Callable[[Sequence[Record]], str]
) -> Iterator[tuple[str, str]]:
    for study in tasks[:MOST_TASKS]:
        yield one_line(study.task), f"{answer(study.trials)}."


def contents(records: Sequence[Record]) -> str:
    """Return how many trials the page holds, and what else its title does not say."""
    ok = sum(record.status == "ok" for record in records)
    ended = "all ended well" if ok == len(records) else f"{ok:,} ended well"
    engines = dict.fromkeys(one_line(record.trial.engine) for record in records)
    return f"{counted(len(records), 'trial')}, {ended}, with {listed(engines)}."


def _lengths(records: Sequence[Record]) -> str:
    return span([str(length) for length in sorted({record.trial.length for record in records})])
