"""The lines below a table: marks, reasons, n-gram losses, over-fitting, flags."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from harness.contract.records.record import Record
from harness.contract.wording import counted
from harness_results.study import findings, versions
from harness_results.study.engines import variant_legend
from harness_results.study.explosions import explosion
from harness_results.study.machines import legend
from harness_results.study.seeds.statistics import MOST_IN_RANGE
from harness_results.study.seeds.summary import SeedSummary, failures_of
from harness_results.study.study import Study
from harness_results.study.theory import known_cells
from harness_results.text.format import number, one_line

LEGEND = {
    "✓": "solved",
    "≈": f"at the baseline (within {findings.AT_BASELINE:.0%}): has learnt nothing",
    "↓": "gradient of the last step vanishes (horizon below T/2)",
    "↑": f"gradient explodes (grows {findings.EXPLODES})",
    "≠": "computes another function: see harness list backends",
    "?": "unverified: its gradients were not held against the reference",
}
GRADIENT = (
    "∇ norm: gradient norm, median before clipping · "
    f"horizon: lag at which the gradient falls below {findings.HORIZON}"
)
KINDS = {
    "launches-bootstrap-bca": "95 % bootstrap interval",
    "launches-bootstrap-percentile": "95 % bootstrap interval",
    "launches-range": "their range",
}
OVER_SEEDS = (
    "a row: the median over seeds; a seed that did not end well counts as the worst · spread: of "
    f"the loss, the range of up to {MOST_IN_RANGE} seeds, else the quartiles · solved: by how many "
    "seeds (exact 95 % interval)"
)
EARLIER = "median of blocks, by an earlier version"
H_ALONE = "horizon of h alone, not of the whole state"
MOST_ROWS = 6  # named before "and n more"
FLAG = "flag"
UNITED = (FLAG, "exploding")
NUMBER = re.compile(
    r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.])"
)  # not a part of a name or version


def reading(records: Sequence[Record]) -> str:
    """Return how to read the columns of these records' tables."""
    speeds = dict.fromkeys(
        speed_in_words(record)
        for record in records
        if record.figures.get("tokens_per_second") is not None
    )
    names = [name for name in findings.baseline_names(records) if name != findings.UNNAMED]
    baseline = f"baseline: {', '.join(names)}" if names else "baseline"
    loss = f"loss: validation (x {baseline})"
    return " · ".join([loss, f"tokens/s: {'; or '.join(speeds) or 'mean'}", GRADIENT])


def speed_in_words(record: Record) -> str:
    """Return how a record's throughput and its interval were computed."""
    kind, is_old = record.details.get("interval"), findings.is_of_earlier_rules(record)
    if record.launches == 1:
        return f"{EARLIER if is_old else 'mean'}, 95 % interval (within-process)"
    words = [f"median of {record.launches} launches"]
    if is_old:
        words.append(f"each the {EARLIER}")
    if kind:
        readable = str(kind).removeprefix("launches-").replace("-", " ")
        words.append(one_line(KINDS.get(str(kind), readable)))
    return ", ".join(words)


def notes(study: Study, marks: Iterable[str]) -> Iterator[str]:
    """Yield the lines below the table of a task in which these marks occur."""
    records = study.records
    in_use = set(marks)
    used = [f"{mark} {meaning}" for mark, meaning in LEGEND.items() if mark in in_use]
    if used:
        yield " · ".join(used)
    if study.is_over_seeds:
        yield OVER_SEEDS
    solved = (findings.criterion(r) for r in study.trials if r.figures.get("solved"))
    yield from (f"solved: {one_line(text)}" for text in dict.fromkeys(solved) if text)
    yield from legend(records, study.machines)
    yield from versions.legend(study.trials)
    yield from variant_legend(records)
    ladders = {_ladder(record) for record in records} - {""}
    if len(ladders) > 1:
        yield from _grouped("n-gram losses", _named(study), _ladder)
    else:
        yield from (f"n-gram losses: {ladder}" for ladder in ladders)
    yield from _scores(_named(study))
    yield from remarks(study, REMARKS)


def remarks(study: Study, kinds: Iterable[str]) -> Iterator[str]:
    """Yield the remarks of these kinds in ``REMARKS`` on a task, each with its trials."""
    named = _named(study)
    for kind in kinds:
        yield from _grouped(kind, named, REMARKS[kind])


def _named(study: Study) -> list[tuple[str, Record]]:
    axes = study.networks.axes
    return [(_name(record, labels, axes), record) for labels, record in study.labelled]


def _ladder(record: Record) -> str:
    return ", ".join(
        f"{one_line(name)} {number(loss, 4)}"
        for name, loss in findings.ngram_losses(record).items()
    )


def _why(record: Record) -> str | list[str] | None:
    """Return why a trial, or some of its seeds, did not end well; None if it did."""
    if isinstance(record, SeedSummary):
        return failures_of(record.outcomes)
    if record.status == "ok":
        return None
    reason = one_line(record.reason or "no reason was given")
    words = record.status.replace("_", " ")
    return reason if reason.startswith((record.status, words)) else f"{words}: {reason}"


def _name(record: Record, label: Sequence[str], axes: Sequence[str]) -> str:
    """Return the name of a record's row: cell, engine and the settings that vary."""
    words = [record.trial.cell, record.trial.engine]
    if record.trial.python and "python" not in axes:
        words.append(f"python={record.trial.python}")
    words += [f"{axis}={value}" for axis, value in zip(axes[1:-1], label[1:-1], strict=True)]
    return " ".join(words)


def _scores(named: Iterable[tuple[str, Record]]) -> Iterator[str]:
    """Yield one line for each further score of the task, with the rows that have it."""
    scores: dict[str, dict[str, list[str]]] = {}
    for name, record in named:
        for score, value in findings.scores(record).items():
            text = f"T={record.trial.length} {number(value)}"
            scores.setdefault(score, {}).setdefault(name, []).append(text)
    for score, rows in scores.items():
        texts = [f"{name} {', '.join(values)}" for name, values in rows.items()]
        yield f"{one_line(score)}: {_some(texts)}"


def _h_alone(record: Record) -> str | None:
    """Return a remark if an earlier version measured the horizon of one state of several."""
    if not findings.is_of_earlier_rules(record) or record.figures.get("gradient_horizon") is None:
        return None
    cell = known_cells().get(record.trial.cell)
    return H_ALONE if cell is not None and len(cell.states) > 1 else None


def _overfitting(record: Record) -> str | None:
    if isinstance(record, SeedSummary):
        cases = sum(findings.overfitting(member) is not None for member in record.outcomes)
        return f"{_seeds(cases, record)}: validation was best before the end" if cases else None
    overfitting = findings.overfitting(record)
    return overfitting.words() if overfitting else None


def _lost_again(record: Record) -> str | None:
    if isinstance(record, SeedSummary):
        cases = sum(findings.lost_again(member) is not None for member in record.outcomes)
        return f"{_seeds(cases, record)}: solved, and no longer later" if cases else None
    return findings.lost_again(record)


def _seeds(cases: int, record: SeedSummary) -> str:
    return f"{cases} of {counted(len(record.outcomes), 'seed')}"


def _flags(record: Record) -> list[str]:
    return list(map(one_line, findings.flags(record)))


# kind -> function that returns the remarks on a record
REMARKS: Mapping[str, Callable[[Record], str | list[str] | None]] = {
    "n/a": _why,
    "exploding": explosion,
    "earlier version": _h_alone,
    "over-fitting": _overfitting,
    "lost again": _lost_again,
    FLAG: _flags,
}


def _grouped(
    kind: str,
    named: Iterable[tuple[str, Record]],
    remarks_of: Callable[[Record], str | list[str] | None],
) -> Iterator[str]:
    """Yield one line for each remark, with the rows and lengths that it is about.

    Remarks of a kind in ``UNITED`` that differ only in their numbers are one.
    """
    lengths: dict[str, dict[str, set[int]]] = {}  # remark -> name of the row -> its lengths
    texts_of: dict[str, list[str]] = {}  # remark -> its texts
    for name, record in named:
        texts = remarks_of(record) or []
        for text in [texts] if isinstance(texts, str) else texts:
            remark = NUMBER.sub("#", text) if kind in UNITED else text
            texts_of.setdefault(remark, []).append(text)
            lengths.setdefault(remark, {}).setdefault(name, set()).add(record.trial.length)
    for remark, rows in lengths.items():
        trials = [f"{name} T={','.join(map(str, sorted(of)))}" for name, of in rows.items()]
        yield f"{kind}: {_some(trials)}: {_united(texts_of[remark])}"


def _united(texts: Sequence[str]) -> str:
    """Return one text for texts that differ in their numbers; a number that varies as a range."""
    ranges = []
    for numbers in zip(*map(NUMBER.findall, texts), strict=True):
        ordered = sorted(set(numbers), key=float)
        ranges.append(ordered[0] if len(ordered) == 1 else f"{ordered[0]} to {ordered[-1]}")
    united = iter(ranges)
    return NUMBER.sub(lambda _: next(united), texts[0])


def _some(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - MOST_ROWS} more" if len(texts) > MOST_ROWS else ""
    return "; ".join(texts[:MOST_ROWS]) + more
