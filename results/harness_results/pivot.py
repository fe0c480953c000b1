"""Records as tables, before any renderer: one per task; rows by network and engine, column groups by length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from harness.contract.record import Record
from harness_results import findings
from harness_results.notes import notes
from harness_results.text import UNKNOWN, interval, number, one_line, ratio

MEASURES = ("loss", "tokens/s", "∇ norm", "horizon")
SOLVED, BASELINE, VANISHING, EXPLODING = "✓", "≈", "↓", "↑"
Tone = Literal["", "good", "warn", "bad", "dim", "best"]
_UNUSUAL = ("schedule", "momentum", "clip_value", "initialisation", "forget_bias", "chrono", "dropout")
_MILD = ("unsupported", "interrupted")
_USUAL = ("none", "0", "constant", "torch")
_KEYS = ("task", "backend", "variant", "cell", "length")


@dataclass(frozen=True)
class Shown:
    """One cell of a table: its text, the mark behind it, and how it is meant."""

    text: str
    mark: str = ""
    tone: Tone = ""


@dataclass(frozen=True)
class Row:
    """One network on one engine (or a reference), at each length: its labels, and ``MEASURES`` by length."""

    labels: tuple[str, ...]
    entries: dict[int, tuple[Shown, ...]]
    reference: bool = False


@dataclass(frozen=True)
class Pivot:
    """The table of one task.

    Attributes:
        task: its name.
        settings: what all its trials share, in words.
        axes: the names of the row labels.
        lengths: the column groups.
        rows: the references (baseline, floor), then the networks.
        notes: lines for below the table: marks in use, what is n/a and why, over-fitting, flags.
    """

    task: str
    settings: str
    axes: tuple[str, ...]
    lengths: tuple[int, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())


def pivots(records: Iterable[Record]) -> list[Pivot]:
    """Return a table for each task, in the order in which tasks appear."""
    by_task: dict[str, list[Record]] = {}
    for record in records:
        by_task.setdefault(record.trial.task, []).append(record)
    return [_pivot(task, members) for task, members in by_task.items()]


def _pivot(task: str, records: Sequence[Record]) -> Pivot:
    settings = [_settings(record) for record in records]
    names = list(dict.fromkeys(name for setting in settings for name in setting))
    varying = [name for name in names if len({setting.get(name) for setting in settings}) > 1]
    by_length = [name for name in varying if _follows_length(name, records, settings)]
    axes = [name for name in varying if name not in by_length]
    shared = {name: settings[0][name] for name in names if name not in varying}
    lengths = tuple(sorted({record.trial.length for record in records}))
    rows = _references(records, lengths, len(axes) + 2) + _networks(records, settings, axes)
    return Pivot(
        task=task,
        settings=_in_words(shared, by_length),
        axes=("cell", *(axis.replace("_", " ") for axis in axes), "engine"),
        lengths=lengths,
        rows=tuple(rows),
        notes=tuple(notes(records, {shown.mark for row in rows for e in row.entries.values() for shown in e})),
    )


def _settings(record: Record) -> dict[str, str]:
    """Return what was asked of a trial besides the fixed axes, as text; task options by their own names."""
    content = record.trial.content()
    options = content.pop("task_options")
    found = {name: value for name, value in content.items() if name not in _KEYS} | options
    return {one_line(name): _setting(value) for name, value in found.items()}


def _setting(value: Any) -> str:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return one_line(value) if isinstance(value, str) else {None: "none", True: "yes", False: "no"}[value]
    return f"{value:g}"


def _follows_length(name: str, records: Sequence[Record], settings: Sequence[dict[str, str]]) -> bool:
    values: dict[int, set[str | None]] = {}
    for record, setting in zip(records, settings, strict=True):
        values.setdefault(record.trial.length, set()).add(setting.get(name))
    return all(len(found) == 1 for found in values.values())


def _in_words(shared: dict[str, str], by_length: Sequence[str]) -> str:
    words = [f"{name} {shared[name]}" for name in ("hidden", "layers", "batch", "steps") if name in shared]
    if "optimizer" in shared:
        words.append(f"{shared['optimizer']} {shared.get('learning_rate', '')}".strip())
    words += [f"clip {shared['clip_norm']}"] if shared.get("clip_norm", "none") != "none" else []
    words += [f"seed {shared['seed']}"] if "seed" in shared else []
    words += [f"{name.replace('_', ' ')} {shared[name]}" for name in _UNUSUAL if shared.get(name, "none") not in _USUAL]
    words += [shared[name] for name in ("dtype", "device") if name in shared]
    words += [f"{shared['threads']} thread{'s' * (shared['threads'] != '1')}"] if "threads" in shared else []
    return " · ".join(words + [f"{name.replace('_', ' ')} by length" for name in by_length])


def _references(records: Sequence[Record], lengths: Sequence[int], labels: int) -> list[Row]:
    """Return the rows of the trivial and of the perfect predictor, at the lengths where all records agree on them."""
    rows = []
    baselines = {length: _agreed("loss_baseline", length, records) for length in lengths}
    for name in ("baseline", "floor"):
        losses = {length: _agreed(f"loss_{name}", length, records) for length in lengths}
        found = {n: _reference(loss, baselines[n]) for n, loss in losses.items() if loss is not None}
        if found:
            rows.append(Row((name, *[""] * (labels - 1)), found, reference=True))
    return rows


def _agreed(figure: str, length: int, records: Sequence[Record]) -> float | None:
    values = {record.figures.get(figure) for record in records if record.trial.length == length} - {None}
    return values.pop() if len({number(value, 6) for value in values}) == 1 else None


def _reference(loss: float, baseline: float | None) -> tuple[Shown, ...]:
    multiple = f" ({ratio(loss / baseline)})" if baseline else ""
    return (Shown(number(loss) + multiple, tone="dim"), *[Shown("")] * (len(MEASURES) - 1))


def _networks(records: Sequence[Record], settings: Sequence[dict[str, str]], axes: Sequence[str]) -> list[Row]:
    """Return the rows by network, so that its engines stand together; each in the order of first appearance."""
    found: dict[tuple[str, ...], dict[int, Record]] = {}
    for record, setting in zip(records, settings, strict=True):
        labels = (record.trial.cell, *(setting.get(axis, UNKNOWN) for axis in axes), record.trial.engine)
        found.setdefault(labels, {})[record.trial.length] = record
    cells = list(dict.fromkeys(labels[0] for labels in found))
    networks = list(dict.fromkeys(labels[:-1] for labels in found))
    ordered = sorted(found, key=lambda labels: (cells.index(labels[0]), networks.index(labels[:-1])))
    best = _fastest(found)
    return [
        Row(labels, {length: _entry(r, best=(labels, length) in best) for length, r in found[labels].items()})
        for labels in ordered
    ]


def _fastest(found: dict[tuple[str, ...], dict[int, Record]]) -> set[tuple[tuple[str, ...], int]]:
    """Return where the throughput is the best of several: of the engines of one network, or of all with one engine."""
    one_engine = len({labels[-1] for labels in found}) == 1
    rivals: dict[Any, list[tuple[float, tuple[str, ...], int]]] = {}
    for labels, by_length in found.items():
        for length, record in by_length.items():
            speed = record.figures.get("tokens_per_second")
            if record.status == "ok" and speed is not None:
                network = () if one_engine else labels[:-1]
                rivals.setdefault((network, length), []).append((speed, labels, length))
    groups = [group for group in rivals.values() if len(group) > 1]
    return {(labels, length) for group in groups for speed, labels, length in group if speed == max(group)[0]}


def _entry(record: Record, *, best: bool) -> tuple[Shown, ...]:
    figures = record.figures
    speed = Shown(UNKNOWN, tone="dim")
    if record.status == "ok":
        names = ("tokens_per_second", "tokens_per_second_low", "tokens_per_second_high")
        speed = Shown(interval(*(figures.get(name) for name in names)), tone="best" if best else "")
    return _loss(record), speed, Shown(number(figures.get("gradient_norm_median"))), _horizon(record)


def _loss(record: Record) -> Shown:
    if record.status != "ok":
        return Shown(record.status.replace("_", " "), tone="warn" if record.status in _MILD else "bad")
    loss, multiple = record.figures.get("loss_validation"), record.figures.get("loss_ratio")
    shown = Shown(number(loss) if multiple is None else f"{number(loss)} ({ratio(multiple)})")
    if record.figures.get("solved"):
        return replace(shown, mark=SOLVED, tone="good")
    return replace(shown, mark=BASELINE, tone="warn") if findings.at_baseline(record) else shown


def _horizon(record: Record) -> Shown:
    horizon = record.figures.get("gradient_horizon")
    shown = Shown(UNKNOWN if horizon is None else f"{'>' * findings.is_censored(record)}{horizon:g}")
    if findings.is_vanishing(record):
        return replace(shown, mark=VANISHING, tone="bad")
    return replace(shown, mark=EXPLODING, tone="bad") if findings.is_exploding(record) else shown
