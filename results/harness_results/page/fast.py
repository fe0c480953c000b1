"""Who is fast, among engines on the same network, length and machine: as ``harness compare``."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence

from harness.contract.records.record import Record
from harness.contract.wording import are, counted
from harness_results.study import findings
from harness_results.study.study import Study, studies
from harness_results.study.tables.notes import speed_in_words
from harness_results.study.verdicts.fastest import Contest, comparable, contests, timed
from harness_results.study.verdicts.floors import floor_of
from harness_results.study.verdicts.statistics import ALPHA, DEFAULT_DRIFT, FAMILY, FEWEST
from harness_results.text.format import number, one_line, quantity
from harness_results.text.words import listed, span

MOST_WINNERS = 4


def who_is_fast(records: Sequence[Record], of_task: Sequence[Contest] | None = None) -> str:
    """Return the sentence about the records of one task, without its name and full stop.

    Args:
        records: of the task.
        of_task: its contests, with p-values corrected over all tasks; None if it is the only task.
    """
    same = comparable(records)
    if not same:
        return "no trial has a speed that can be compared"
    of_task = contests([Study(records)])[0] if of_task is None else of_task
    engines = {record.trial.engine for record in same}
    if len(engines) == 1:
        return f"one engine only, {one_line(engines.pop())}; {_sentence(of_task, 'cell')}"
    return _sentence(of_task, "engine")


def in_short(tasks: Sequence[Study], of_tasks: Sequence[Sequence[Contest]]) -> Iterator[str]:
    """Yield the clauses of a headline about all tasks.

    Args:
        tasks: all tasks.
        of_tasks: the contests of each.
    """
    same = [record for study in tasks for record in comparable(study.records)]
    engines = dict.fromkeys(record.trial.engine for record in same)
    if not same:
        yield "no trial has a speed that can be compared"
        return
    several = [
        contest
        for contest in itertools.chain.from_iterable(of_tasks)
        if len({record.trial.engine for record in contest.records}) > 1
    ]
    if several:
        yield _sentence(several, "engine")
        return
    rates = [f"{_rates(same, engine)} ({one_line(engine)})" for engine in engines]
    yield f"tokens/s: {', '.join(rates)}"
    if len(engines) > 1:
        yield "no two engines ran the same network and length"


def _rates(records: Sequence[Record], engine: str) -> str:
    """Return the tokens per second of an engine, from its slowest to its fastest trial."""
    speeds = sorted(
        float(record.figures["tokens_per_second"] or 0.0)
        for record in records
        if record.trial.engine == engine
    )
    return span([quantity(speeds[0]), quantity(speeds[-1])])


def basis(records: Sequence[Record], of_tasks: Sequence[Sequence[Contest]] | None = None) -> str:
    """Return what the sentences are based on.

    Args:
        records: of all tasks.
        of_tasks: the contests of each task; None if they do not exist yet.
    """
    of_tasks = contests(studies(records)) if of_tasks is None else of_tasks
    same = comparable(records)
    kinds = listed(dict.fromkeys(map(speed_in_words, same))) or "median"
    sentences = [
        f"By training tokens per second: {kinds}.",
        (
            "Engines are compared on the same network, length and machine, by the rule of harness "
            f"compare: {FEWEST} launches of each or more, the Mann-Whitney test (p at most "
            f"{ALPHA}; {FAMILY} after Holm's correction for all comparisons here), an interval of "
            f"the ratio that excludes 1, and a lead above the noise floor ({_floors(same)})."
        ),
        (
            "If the launches of two sides took no turns, the interval is widened by "
            f"{DEFAULT_DRIFT:.0%}{_apart(of_tasks)}."
        ),
        *_unverified(records),
        *_conditions(same),
    ]
    return " ".join(sentences)


def _floors(records: Sequence[Record]) -> str:
    floors = sorted({floor_of(record) for record in records}, key=lambda floor: floor.value)
    measured = [f"{floor.value:.1%}" for floor in floors if floor.measured]
    assumed = [f"{floor.value:.1%} assumed" for floor in floors if not floor.measured]
    return listed([*([f"{span(measured)} measured"] if measured else []), *assumed]) or "unknown"


def _unverified(records: Sequence[Record]) -> Iterator[str]:
    count = sum(not findings.is_verified(record) for record in timed(records))
    if count:
        yield f"{counted(count, 'trial')} not held against the reference {are(count)} left out."


def _conditions(records: Sequence[Record]) -> Iterator[str]:
    """Yield what limits the speeds: one launch, a short warm-up, other work, a used process."""
    details = [record.details for record in records]
    if any(record.launches == 1 for record in records):
        yield (
            "A within-process interval does not capture variation between launches, "
            "which may be larger."
        )
    if count := sum(map(findings.is_warming_up, records)):
        yield (
            f"In {count} of {counted(len(records), 'trial')} the warm-up ended before block times "
            "were flat."
        )
    if any(int(detail.get("jobs", 1)) > 1 for detail in details):
        yield "Some were measured while other launches ran."
    if any(detail.get("isolation") == "backend" for detail in details):
        yield "Some ran in a process that other trials had used: use them for exploring only."


def _apart(of_tasks: Sequence[Sequence[Contest]]) -> str:
    """Return in how many of the comparisons the launches took no turns, in brackets."""
    judged = [
        contest for task in of_tasks for contest in task if contest.effect.p_value is not None
    ]
    apart = sum(not contest.took_turns for contest in judged)
    return f" (here in {apart} of {counted(len(judged), 'comparison')})" if apart else ""


def _sentence(of_task: Sequence[Contest], kind: str) -> str:
    if not of_task:
        return f"no two {kind}s were measured on the same network and length"
    clear = [contest for contest in of_task if contest.is_clear]
    unclear = [contest for contest in of_task if not contest.is_clear]
    total = counted(len(of_task), "comparison")
    if not clear:
        where = "the one comparison" if len(of_task) == 1 else f"all {total}"
        return f"no clear winner among the {kind}s in {where}: {_doubts(unclear)}"
    others = ""
    if unclear:
        others = f"; no clear winner in {len(unclear):,} of {total}: {_doubts(unclear)}"
    return f"{_winners(clear, len(of_task))}{others}"


def _doubts(unclear: Sequence[Contest]) -> str:
    """Return why there is no winner in some comparisons."""
    few = sum(contest.few_launches for contest in unclear)
    if few == len(unclear):
        return f"fewer than {FEWEST} launches of each"
    doubts = [f"{few:,} with fewer than {FEWEST} launches of each"] if few else []
    rules = sum(contest.of_two_rules for contest in unclear)
    doubts += [f"{rules:,} with speeds of an earlier version on one side only"] if rules else []
    close = len(unclear) - few - rules
    doubts += [f"{close:,} too close to tell"] if close else []
    return listed(doubts)


def _winners(clear: Sequence[Contest], total: int) -> str:
    ratios: dict[str, list[float]] = defaultdict(list)
    for contest in clear:
        ratios[contest.names[0]].append(contest.ratio)
    order = sorted(ratios, key=lambda name: -len(ratios[name]))
    parts = [_winner(name, ratios[name], total) for name in order[:MOST_WINNERS]]
    if len(order) > MOST_WINNERS:
        parts.append(f"{len(order) - MOST_WINNERS} more win somewhere")
    return "; ".join(parts)


def _winner(name: str, ratios: Sequence[float], total: int) -> str:
    times = span([number(ratio) for ratio in (min(ratios), max(ratios))])
    where = "the one comparison"
    if total > 1:
        where = f"{len(ratios):,} of {counted(total, 'comparison')}"
    return f"{one_line(name)} is clearly the fastest in {where} ({times} times the next)"
