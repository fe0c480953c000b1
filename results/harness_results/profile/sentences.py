"""What a profile says, in sentences; each is computed from its records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from harness.contract.records.probed import probe_flags
from harness.contract.records.record import Record
from harness.contract.wording import counted, shortened
from harness_results.profile.view import (
    NEVER,
    Entry,
    Profile,
    Row,
    is_proven,
    is_solved,
    is_trained,
    learning,
    limit_of,
    setting,
)
from harness_results.study import findings
from harness_results.study.seeds.ladder import FEWEST_SEEDS
from harness_results.study.seeds.summary import members_of, solved_of, steps_to_solve
from harness_results.study.study import studies
from harness_results.study.verdicts.fastest import comparable, contests
from harness_results.study.verdicts.statistics import FEWEST
from harness_results.text.format import number, one_line, quantity, ratio
from harness_results.text.words import listed

MOST_NAMES = 12  # rungs or settings that a sentence names
MOST_FAILURES, LONGEST_REASON = 2, 80  # of probes; characters
MAJORITY = 0.5  # of the seeds


def sentences(profile: Profile) -> list[tuple[str, str]]:
    """Return section -> what the records say about it; nothing on a section without records."""
    parts = {
        "computes": _computes(profile),
        "keeps": _keeps(profile),
        "learns": _learns(profile),
        "speed": _speed(profile),
        "proof": _proof(profile),
    }
    texts = [(section, " ".join(some)) for section, some in parts.items()]
    return [(section, text) for section, text in texts if text]


def _computes(profile: Profile) -> Iterator[str]:
    by_cell = profile.rungs_by_cell
    solved = {cell: [r.name for r in rungs if is_solved(r)] for cell, rungs in by_cell.items()}
    for cell, names in solved.items():
        total = counted(len(by_cell[cell]), "rung")
        which = f": {_names(names)}" if cell == profile.cell and names else ""
        yield f"{one_line(cell)} solves {len(names)} of {total}{which}."
    own = solved.get(profile.cell)
    for other, names in solved.items():
        if own is not None and other != profile.cell:
            yield from _difference(profile.cell, own, other, names)
    if profile.rungs and min(rung.seeds for rung in profile.rungs) < FEWEST_SEEDS:
        yield f"With fewer than {FEWEST_SEEDS} seeds no rung counts as climbed."


def _difference(cell: str, own: Sequence[str], other: str, others: Sequence[str]) -> Iterator[str]:
    cell, other = one_line(cell), one_line(other)
    if set(own) == set(others):
        yield f"{cell} and {other} solve the same rungs."
        return
    for name, rival, names, of_rival in ((cell, other, own, others), (other, cell, others, own)):
        more = [rung for rung in names if rung not in of_rival]
        if more:
            yield f"{name} solves {_names(more)}, {rival} does not."


def _keeps(profile: Profile) -> Iterator[str]:
    for row in profile.rows_of("keeps"):
        noun, _, where = row.name.partition(", ")
        match noun:
            case "capacity":
                yield f"Memory capacity at {where}: {_each(row.entries)}."
            case "latent":
                yield f"What {where} asks to remember is decoded from the state {_latents(row)}."
            case "horizon":
                yield f"A gradient at {where} falls to 1 % after {_horizons(row.entries)}."

    failed: dict[str, None] = {}
    for record in profile.trained:
        for flag in probe_flags(record.details):
            reason = shortened(one_line(flag), LONGEST_REASON)
            failed[f"{one_line(record.trial.cell)} at {setting(record)} ({reason})"] = None
    if failed:
        yield f"Not measured: {listed(failed, MOST_FAILURES)}."


def _latents(row: Row) -> str:
    texts = []
    for cell, entry in row.entries.items():
        name, chance_name = entry.values
        score = {"accuracy": "accuracy", "r2": "R^2"}[name]
        chance = entry.values[chance_name]
        by_chance = "" if chance is None else f" (chance {chance:.2f})"
        texts.append(f"of {one_line(cell)} with {score} {entry.values[name]:.2f}{by_chance}")
    return listed(texts)


def _horizons(entries: Mapping[str, Entry]) -> str:
    return listed(
        f"{NEVER} for {one_line(cell)}"
        if entry.text == NEVER
        else f"{entry.text} steps for {one_line(cell)}"
        for cell, entry in entries.items()
    )


def _each(entries: Mapping[str, Entry]) -> str:
    return listed(f"{one_line(cell)} {entry.text}" for cell, entry in entries.items())


def _learns(profile: Profile) -> Iterator[str]:
    by_setting: dict[str, list[Record]] = {}
    for record in learning(profile):
        by_setting.setdefault(setting(record), []).append(record)
    for where, records in by_setting.items():
        if any(map(findings.ngram_losses, records)):
            yield from _lowest_loss(where, records)
        elif any(map(solved_of, records)):
            yield _solvers(where, records)


def _solvers(where: str, records: Sequence[Record]) -> str:
    """Return which cells solve a task in most seeds, those that need the fewest steps first."""
    steps: dict[str, float] = {}
    others = []
    for record in records:
        solved = solved_of(record) or (0, 1)
        name = one_line(record.trial.cell)
        if solved[0] > MAJORITY * solved[1]:
            first = steps_to_solve(record)[0]
            steps[name] = math.inf if first is None else first
        else:
            others.append(name)
    if not steps:
        return f"In most seeds, no cell solves {where}."
    ordered = sorted(steps, key=lambda name: steps[name])
    solvers = listed(
        name if math.isinf(steps[name]) else f"{name} ({steps[name]:,.0f} steps)"
        for name in ordered
    )
    verb = "solves" if len(ordered) == 1 else "solve"
    unsolved = f"; {listed(others)} {'does' if len(others) == 1 else 'do'} not" if others else ""
    return f"In most seeds, {solvers} {verb} {where}{unsolved}."


def _lowest_loss(where: str, records: Sequence[Record]) -> Iterator[str]:
    losses = {
        record.trial.cell: (loss, record)
        for record in records
        if record.status == "ok" and (loss := record.figures.get("loss_validation")) is not None
    }
    if not losses:
        return
    cell = min(losses, key=lambda name: losses[name][0])
    loss, record = losses[cell]
    multiple = record.figures.get("loss_ratio")
    of_baseline = (
        "" if multiple is None else f", {ratio(multiple)} of the {findings.baseline_name(record)}'s"
    )
    yield f"At {where}, {one_line(cell)} has the lowest loss: {number(loss)}{of_baseline}."


def _speed(profile: Profile) -> Iterator[str]:
    """Yield the fastest engine of the cell, and the others' throughput on that engine."""
    own = [record for record in comparable(profile.timed) if record.trial.cell == profile.cell]
    if not own:
        return
    first = max(own, key=_throughput)
    limit = limit_of(first)
    of_limit = "" if limit is None else f", {limit[1]:.0%} of its {limit[0]} limit"
    verb = "is fastest as" if _is_fastest(first, own) else "has its highest throughput as"
    yield (
        f"{one_line(profile.cell)} {verb} {one_line(first.trial.engine)}: "
        f"{quantity(_throughput(first))} tokens/s{of_limit}."
    )
    if len(own) > 1 and not _is_fastest(first, own):
        few = min(record.launches for record in own) < FEWEST
        why = f": that takes {FEWEST} launches" if few else ""
        yield f"Which engine is the fastest cannot be told{why}."
    rivals = [
        f"{one_line(record.trial.cell)} has {_throughput(record) / _throughput(first):.2f} times "
        f"the tokens/s of {one_line(profile.cell)}"
        for record in comparable(profile.timed)
        if record.trial.engine == first.trial.engine
        and record.trial.cell != profile.cell
        and setting(record) == setting(first)
    ]
    if rivals:
        yield f"With this engine, {listed(rivals)}."


def _is_fastest(first: Record, own: Sequence[Record]) -> bool:
    """Return whether the record is clearly faster than every other, by the rule of compare."""
    return any(
        contest.is_clear and contest.records[0] is first
        for of_task in contests(studies(own))
        for contest in of_task
    )


def _throughput(record: Record) -> float:
    return float(record.figures.get("tokens_per_second") or 0.0)


def _proof(profile: Profile) -> Iterator[str]:
    every = [each for record in profile.records for each in members_of(record)]
    trials = [record for record in every if is_trained(record)]
    proven = [record for record in trials if is_proven(record)]
    if not trials:
        return
    if len(proven) == len(trials):
        yield f"All {counted(len(trials), 'trial')} agree with the float64 reference."
    else:
        others = dict.fromkeys(_of(record) for record in trials if not is_proven(record))
        yield (
            f"{len(proven)} of {counted(len(trials), 'trial')} agree with the float64 reference; "
            f"not proven: {listed(others)}."
        )
    measured = [record for record in trials if record.figures.get("parity_error") is not None]
    if measured:
        worst = max(measured, key=lambda record: float(record.figures["parity_error"] or 0.0))
        error = float(worst.figures["parity_error"] or 0.0)
        yield f"The largest deviation is {number(error)}, of {_of(worst)}."
    failed = dict.fromkeys(
        f"{_of(record)} {record.status.replace('_', ' ')}"
        for record in every
        if record.status != "ok"
    )
    if failed:
        yield f"Did not end well: {listed(failed)}."


def _of(record: Record) -> str:
    trial = record.trial
    return f"{one_line(trial.cell)} on {one_line(trial.engine)} at {setting(record)}"


def _names(names: Iterable[str]) -> str:
    return listed(names, MOST_NAMES)
