"""Who is fast: engines on the same network, length and machine; a winner only where the intervals are apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract.counting import are, counted
from harness.contract.record import Record
from harness_results import findings
from harness_results.floors import Floor
from harness_results.networks import Networks, networks
from harness_results.notes import speed_in_words
from harness_results.order import each_launch, interleaved
from harness_results.page.words import listed, span
from harness_results.pivot import by_task
from harness_results.statistics import DEFAULT_DRIFT
from harness_results.text import number, one_line

MOST_WINNERS = 4
Rivals = list[tuple[str, Record]]  # names and records


@dataclass(frozen=True)
class Contest:
    """What was measured on one network, length and machine; the rivals by their throughput, the fastest first.

    Attributes:
        names: of the rivals.
        records: of the rivals.
    """

    names: tuple[str, ...]
    records: tuple[Record, ...]

    @property
    def is_clear(self) -> bool:
        """Whether the fastest is ahead of every other by more than noise, and its interval lies above all others."""
        return all(map(self._is_behind, self.records[1:]))

    @property
    def took_turns(self) -> bool:
        """Whether the launches of the fastest took turns with those of every other, so that drift hit all alike."""
        return all(_took_turns(self.records[0], record) for record in self.records[1:])

    def _is_behind(self, other: Record) -> bool:
        first = self.records[0]
        low, high = first.figures.get("tokens_per_second_low"), other.figures.get("tokens_per_second_high")
        noise = Floor().value + (0.0 if _took_turns(first, other) else DEFAULT_DRIFT)
        return low is not None and high is not None and high < low and _speed(first) > (1 + noise) * _speed(other)

    @property
    def ratio(self) -> float:
        """Throughput of the fastest as a multiple of the next one's."""
        return _speed(self.records[0]) / _speed(self.records[1])


def who_is_fast(records: Sequence[Record]) -> str:
    """Return the sentence of the records of one task, without its name and full stop."""
    same = _comparable(records)
    if not same:
        return "no trial has a speed that can be compared"
    engines = {record.trial.engine for record in same}
    if len(engines) == 1:
        return f"one engine only, {one_line(engines.pop())}; {_told(contests_of_cells(same), 'cell')}"
    return _told(contests(same), "engine")


def basis(records: Sequence[Record]) -> str:
    """Return what the sentences rest on."""
    timed = _comparable(records)
    kinds = listed(dict.fromkeys(map(speed_in_words, timed))) or "median"
    single = any(int(record.details.get("launches", 1)) == 1 for record in timed)
    hedges = [
        _unverified(records),
        " An interval from within one process knows nothing of other launches, which may differ by more." * single,
        " Some were measured while other launches ran." * any(int(r.details.get("jobs", 1)) > 1 for r in timed),
        " Some ran in a process that other trials had used before: for exploring only."
        * any(record.details.get("isolation") == "backend" for record in timed),
    ]
    ahead, drifting = Floor().value, Floor().value + DEFAULT_DRIFT
    return (
        f"By tokens per second of training: {kinds}. Compared are engines on the same network, length and machine; a "
        f"winner is clear where its interval lies above every other one's and it is over {ahead:.0%} ahead; over "
        f"{drifting:.0%} where their launches took no turns, or are too few to tell{_apart(timed)}."
        f"{''.join(hedges)}"
    )


def _timed(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.status == "ok" and _speed(record) > 0]


def _comparable(records: Sequence[Record]) -> list[Record]:
    """Return what has a speed and was held against the reference."""
    return list(filter(findings.is_verified, _timed(records)))


def _unverified(records: Sequence[Record]) -> str:
    count = len(_timed(records)) - len(_comparable(records))
    return f" {counted(count, 'trial')} not held against the reference {are(count)} left out." if count else ""


def _apart(records: Sequence[Record]) -> str:
    """Return in how many of the comparisons the launches took no turns, in brackets."""
    found = [one for task in by_task(records) for one in (contests(task) or contests_of_cells(task))]
    apart = sum(not one.took_turns for one in found)
    return f" (so in {apart} of {counted(len(found), 'comparison')} here)" if apart else ""


def _took_turns(one: Record, other: Record) -> bool:
    return interleaved(each_launch(one), each_launch(other))


def contests(records: Sequence[Record]) -> list[Contest]:
    """Return one for each network, length and machine on which several engines were measured."""
    known = networks(records)
    keys = ((label[:-1], record.trial.length, record.environment_id) for label, record in _pairs(known, records))
    return list(_contests(keys, [record.trial.engine for record in records], records))


def contests_of_cells(records: Sequence[Record]) -> list[Contest]:
    """Return one for each setting, length and machine on which several cells were measured."""
    known = networks(records)
    keys = ((label[1:], record.trial.length, record.environment_id) for label, record in _pairs(known, records))
    return list(_contests(keys, [record.trial.cell for record in records], records))


def _pairs(known: Networks, records: Sequence[Record]) -> Iterator[tuple[tuple[str, ...], Record]]:
    return zip(known.labels, records, strict=True)


def _contests(keys: Iterator[Any], names: Sequence[str], records: Sequence[Record]) -> Iterator[Contest]:
    groups: dict[Any, Rivals] = {}
    for key, name, record in zip(keys, names, records, strict=True):
        groups.setdefault(key, []).append((name, record))
    for group in groups.values():
        if len({name for name, _ in group}) > 1:
            ordered = sorted(group, key=lambda rival: -_speed(rival[1]))
            yield Contest(tuple(name for name, _ in ordered), tuple(record for _, record in ordered))


def _speed(record: Record) -> float:
    return float(record.figures.get("tokens_per_second") or 0.0)


def _told(found: Sequence[Contest], kind: str) -> str:
    if not found:
        return f"no two {kind}s were measured on the same network and length"
    clear = [contest for contest in found if contest.is_clear]
    total = counted(len(found), "comparison")
    if not clear:
        return f"no clear winner among the {kind}s: in {_all(len(found), total)} the fastest are too close"
    rest = len(found) - len(clear)
    overlap = f"; no clear winner in {rest} of {total}, where they are too close" if rest else ""
    return f"{_winners(clear, len(found))}{overlap}"


def _all(number_: int, total: str) -> str:
    return "the one comparison" if number_ == 1 else f"all {total}"


def _winners(clear: Sequence[Contest], total: int) -> str:
    ratios: dict[str, list[float]] = {}
    for contest in clear:
        ratios.setdefault(contest.names[0], []).append(contest.ratio)
    order = sorted(ratios, key=lambda name: -len(ratios[name]))
    return "; ".join([*(_winner(name, ratios[name], total) for name in order[:MOST_WINNERS]), *_others(order)])


def _winner(name: str, ratios: Sequence[float], total: int) -> str:
    times = span([number(ratio) for ratio in (min(ratios), max(ratios))])
    where = "in the one comparison" if total == 1 else f"in {len(ratios)} of {counted(total, 'comparison')}"
    return f"{one_line(name)} is clearly the fastest {where} ({times} times the next)"


def _others(order: Sequence[str]) -> Iterator[str]:
    if len(order) > MOST_WINNERS:
        yield f"{len(order) - MOST_WINNERS} more win somewhere"
