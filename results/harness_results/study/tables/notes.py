"""The lines below a table: marks, reasons, n-gram losses, over-fitting, flags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.contract.records.record import Record
from harness_results.study import findings, versions
from harness_results.study.engines import variant_legend
from harness_results.study.explosions import explosion
from harness_results.study.machines import legend
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
LOSS = "loss: validation (x baseline)"
GRADIENT = f"∇ norm: gradient norm, median before clipping · horizon: lag at which the gradient falls to {findings.HORIZON}"
KINDS = {
    "launches-bootstrap-bca": "95 % bootstrap interval",
    "launches-bootstrap-percentile": "95 % bootstrap interval",
    "launches-range": "their range",
}
H_ALONE = "horizon of h alone, not of the whole state"
PLACES = 6  # shown before "and n more"


def reading(records: Iterable[Record]) -> str:
    """Return how to read the columns of these records' tables."""
    speeds = dict.fromkeys(
        speed_in_words(record)
        for record in records
        if record.figures.get("tokens_per_second") is not None
    )
    return " · ".join([LOSS, f"tokens/s: {'; or '.join(speeds) or 'mean'}", GRADIENT])


def speed_in_words(record: Record) -> str:
    """Return what a record's throughput and its interval are."""
    launches, kind = record.details.get("launches", 1), record.details.get("interval")
    if launches == 1:
        average = (
            "median of blocks, by an earlier version"
            if findings.is_of_earlier_rules(record)
            else "mean"
        )
        return f"{average}, 95 % interval (within-process)"
    kind_in_words = KINDS.get(
        str(kind), str(kind).removeprefix("launches-").replace("-", " ") if kind else None
    )
    each = (
        ["each the median of blocks, by an earlier version"]
        if findings.is_of_earlier_rules(record)
        else []
    )
    return ", ".join(
        [
            f"median of {launches} launches",
            *each,
            *([one_line(kind_in_words)] if kind_in_words else []),
        ]
    )


def notes(study: Study, marks: Iterable[str]) -> Iterator[str]:
    """Yield the lines for below the table of a task, in which these marks occur."""
    records = study.records
    used = [f"{mark} {meaning}" for mark, meaning in LEGEND.items() if mark in set(marks)]
    if used:
        yield " · ".join(used)
    solved = (findings.criterion(record) for record in records if record.figures.get("solved"))
    yield from (f"solved: {one_line(text)}" for text in dict.fromkeys(solved) if text)
    yield from legend(records, study.machines)
    yield from versions.legend(records)
    yield from variant_legend(records)
    ladders = dict.fromkeys(_ladder(record) for record in records if findings.ngram_losses(record))
    yield from (f"n-gram losses: {ladder}" for ladder in ladders)
    axes = study.networks.axes
    named = [(_name(record, labels, axes), record) for labels, record in study.labelled]
    yield from _scores(named)
    yield from _grouped(
        "n/a", ((_why(record), name, record) for name, record in named if record.status != "ok")
    )
    yield from _grouped(
        "exploding", ((text, name, record) for name, record in named if (text := explosion(record)))
    )
    yield from _grouped(
        "earlier version",
        ((H_ALONE, name, record) for name, record in named if _is_of_h_alone(record)),
    )
    yield from _grouped(
        "over-fitting",
        ((text, name, record) for name, record in named for text in _overfitting(record)),
    )
    lost = ((text, name, record) for name, record in named if (text := findings.lost_again(record)))
    yield from _grouped("lost again", lost)
    yield from _grouped(
        "flag",
        (
            (one_line(flag), name, record)
            for name, record in named
            for flag in findings.flags(record)
        ),
    )


def _ladder(record: Record) -> str:
    return ", ".join(
        f"{one_line(name)} {number(loss, 4)}"
        for name, loss in findings.ngram_losses(record).items()
    )


def _why(record: Record) -> str:
    reason = one_line(record.reason or "no reason was given")
    words = record.status.replace("_", " ")
    return reason if reason.startswith((record.status, words)) else f"{words}: {reason}"


def _name(record: Record, label: Sequence[str], axes: Sequence[str]) -> str:
    """Return what tells the row of a record from the others, but for the length."""
    python = (
        [f"python={record.trial.python}"] if record.trial.python and "python" not in axes else []
    )
    varying = [f"{axis}={value}" for axis, value in zip(axes[1:-1], label[1:-1], strict=True)]
    return " ".join((record.trial.cell, record.trial.engine, *python, *varying))


def _scores(named: Iterable[tuple[str, Record]]) -> Iterator[str]:
    """Yield one line for each further score of the task, with the rows that have it."""
    scores: dict[str, dict[str, list[str]]] = {}
    for name, record in named:
        for score, value in findings.scores(record).items():
            scores.setdefault(score, {}).setdefault(name, []).append(
                f"T={record.trial.length} {number(value)}"
            )
    for score, rows in scores.items():
        texts = [f"{name} {', '.join(values)}" for name, values in rows.items()]
        more = f"; and {len(texts) - PLACES} more" if len(texts) > PLACES else ""
        yield f"{one_line(score)}: {'; '.join(texts[:PLACES])}{more}"


def _is_of_h_alone(record: Record) -> bool:
    """Say whether an earlier version measured the horizon of a cell that has more states than h."""
    cell = known_cells().get(record.trial.cell) if findings.is_of_earlier_rules(record) else None
    return (
        cell is not None
        and len(cell.states) > 1
        and record.figures.get("gradient_horizon") is not None
    )


def _overfitting(record: Record) -> Iterator[str]:
    overfitting = findings.overfitting(record)
    if overfitting:
        yield overfitting.words()


def _grouped(kind: str, remarks: Iterable[tuple[str, str, Record]]) -> Iterator[str]:
    """Yield one line for each text, with the rows and lengths where it holds."""
    rows: dict[str, dict[str, list[int]]] = {}
    for text, name, record in remarks:
        rows.setdefault(text, {}).setdefault(name, []).append(record.trial.length)
    for text, networks in rows.items():
        named = [f"{name} T={_lengths(lengths)}" for name, lengths in networks.items()]
        more = f"; and {len(named) - PLACES} more" if len(named) > PLACES else ""
        yield f"{kind}: {'; '.join(named[:PLACES])}{more}: {text}"


def _lengths(lengths: Iterable[int]) -> str:
    return ",".join(map(str, sorted(set(lengths))))
