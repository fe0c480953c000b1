"""The networks of one task: settings that vary are row labels, shared ones a caption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from harness.contract.records.record import Record
from harness.contract.trial import GATE_OPTIONS, Trial, are_evaluated_as_usual
from harness_results.study.machines import MACHINE
from harness_results.study.seeds.summary import SeedSummary, each_seed, members_of
from harness_results.text.format import UNKNOWN, one_line

SEEDS = "seeds"
MOST_SEEDS = 8  # that a caption lists
_FIRST = (
    "hidden", "layers", "batch", "steps", "optimizer", "learning_rate", "clip_norm", "seed", SEEDS,
)  # fmt: skip
_LAST = ("dtype", "device", "threads", "devices")
_BARE = ("dtype", "device")  # shown without their names
_KEYS = ("task", "backend", "variant", "cell", "length")
Labels = tuple[str, ...]  # of a row: the cell, the settings that vary, the engine
OWN = "own"  # the harness's own interpreter
_MISSING = object()
SAME = "record"  # axis that numbers the records with equal settings, so that each has its own row


@dataclass(frozen=True)
class Networks:
    """The records of one task by network and engine.

    Attributes:
        axes: the names of the row labels: the cell, the settings that vary, the engine.
        labels: the labels of each record; the last is the engine, the others are the network's.
        by_length: the settings that vary only with the length.
        words: the settings that all share.
    """

    axes: tuple[str, ...]
    labels: tuple[Labels, ...]
    by_length: tuple[str, ...]
    words: str


def networks(records: Sequence[Record], machines: Mapping[str | None, str]) -> Networks:
    """Return the networks among the records of one task.

    Args:
        records: of one task.
        machines: environment_id -> name of the machine, if records must be told apart by it.
    """
    settings = [_settings(record, machines) for record in records]
    if seeds := seeds_in_words(records):
        settings = [{**setting, SEEDS: seeds} for setting in settings]
        for setting in settings:
            del setting["seed"]
    names = list(dict.fromkeys(name for setting in settings for name in setting))
    varying = [name for name in names if len({setting.get(name) for setting in settings}) > 1]
    by_length = [
        name for name in varying if name != MACHINE and _follows_length(name, records, settings)
    ]
    of_gates = _of_gates([name for name in varying if name not in by_length], records, settings)
    axes = [name for name in varying if name not in by_length and name not in of_gates]
    if are_evaluated_as_usual(record.trial for record in records):
        by_length = [name for name in by_length if name != "evaluate_every"]
    usual = _usual(records, machines)
    shared = {name: settings[0][name] for name in names if name not in varying} | of_gates
    if "steps" in shared:
        shared["steps"] = _trained_steps(records)
    unusual = {name: value for name, value in shared.items() if value != usual.get(name)}
    labels: list[Labels] = [
        (
            record.trial.cell,
            *(setting.get(axis) or _default(record, axis) for axis in axes),
            record.trial.engine,
        )
        for record, setting in zip(records, settings, strict=True)
    ]
    if max(numbers := _numbers(records, labels), default=1) > 1:
        axes.append(SAME)
        labels = [
            (*label[:-1], str(number), label[-1])
            for label, number in zip(labels, numbers, strict=True)
        ]
    return Networks(
        axes=("cell", *(axis.replace("_", " ") for axis in axes), "engine"),
        labels=tuple(labels),
        by_length=tuple(by_length),
        words=_in_words(unusual, by_length),
    )


def seeds_in_words(records: Sequence[Record]) -> str:
    """Return the seeds behind these records, such as ``0 to 4``; empty if none is of several."""
    if not any(isinstance(record, SeedSummary) for record in records):
        return ""
    seeds = [tuple(member.trial.seed for member in members_of(record)) for record in records]
    if len(set(seeds)) > 1:
        fewest, most = min(map(len, seeds)), max(map(len, seeds))
        return f"{fewest} to {most} of each" if fewest < most else f"{most} of each"
    return numbers_in_words(seeds[0])


def numbers_in_words(numbers: Sequence[int]) -> str:
    """Return ascending numbers in words: ``0 to 4``, ``0, 2, 7``."""
    first, last = numbers[0], numbers[-1]
    if len(numbers) > 2 and last - first == len(numbers) - 1:  # noqa: PLR2004
        return f"{first} to {last}"
    return ", ".join(map(str, numbers)) if len(numbers) <= MOST_SEEDS else f"{len(numbers)} of each"


def in_order(labels: Iterable[Labels]) -> list[Labels]:
    """Return each label once, the engines of a network side by side, by first appearance."""
    unique = list(dict.fromkeys(labels))
    cells = {cell: n for n, cell in enumerate(dict.fromkeys(label[0] for label in unique))}
    networks = list(dict.fromkeys(label[:-1] for label in unique))
    order = {network: n for n, network in enumerate(networks)}
    return sorted(unique, key=lambda label: (cells[label[0]], order[label[:-1]]))


def _numbers(records: Sequence[Record], labels: Sequence[Labels]) -> list[int]:
    """Number the records that share labels and length, from 1; all are 1 if labels are unique."""
    seen: Counter[tuple[Labels, int]] = Counter()
    numbers = []
    for record, label in zip(records, labels, strict=True):
        seen[label, record.trial.length] += 1
        numbers.append(seen[label, record.trial.length])
    return numbers


def _settings(record: Record, machines: Mapping[str | None, str]) -> dict[str, str]:
    """Return the settings of a trial that are not fixed axes, and its task options, as text."""
    fields = record.trial.model_dump(mode="json")
    options = fields.pop("task_options")
    settings = {name: value for name, value in fields.items() if name not in _KEYS}
    settings["python"] = record.trial.python or OWN
    settings |= {_option(name): value for name, value in options.items()}
    settings |= {MACHINE: machines[record.environment_id]} if machines else {}
    settings["evaluate_at"] = record.trial.evaluate_at
    return {_name(name): setting_in_words(value) for name, value in settings.items()}


def _trained_steps(records: Sequence[Record]) -> str:
    """Return the steps of trials that were to train equally many; some may have lost patience."""
    planned = records[0].trial.steps
    trained = [record.trained_steps() for record in each_seed(records)]
    fewest, most = min(trained), max(trained)
    if fewest == planned:
        return str(planned)
    return f"{fewest} to {most} of {planned}" if fewest < most else f"{most} of {planned}"


def _default(record: Record, axis: str) -> str:
    """Return the default of a task's option that a trial leaves out, as text."""
    defaults = record.details.get("task_defaults")
    if isinstance(defaults, Mapping):
        for name, value in defaults.items():
            if _name(_option(name)) == axis:
                return setting_in_words(value)
    return UNKNOWN


def option_axis(name: str) -> str:
    """Return the name of the axis of a task's option in ``Networks.axes``."""
    return _name(_option(name)).replace("_", " ")


def _option(name: str) -> str:
    """Return the label of a task's option; ``task.`` tells it from a field of the trial."""
    return f"task.{name}" if name in Trial.model_fields and name not in _KEYS else name


def _usual(records: Sequence[Record], machines: Mapping[str | None, str]) -> dict[str, str]:
    """Return the settings that a caption omits: defaults and the machine.

    The records hold the defaults of their task. Older records hold none: all their task options
    are shown.
    """
    first = records[0]
    fields = {
        name: field.default for name, field in Trial.model_fields.items() if not field.is_required()
    }
    silent = (*_FIRST, *_LAST, "task_options")
    kept = ("clip_norm", "devices", *(name for name in fields if name not in silent))
    usual = {name: fields[name] for name in kept} | {"python": OWN}
    if are_evaluated_as_usual(record.trial for record in records):
        usual["evaluate_every"] = first.trial.evaluate_every
    details = [record.details.get("task_defaults") for record in records]
    of_tasks = [defaults for defaults in details if isinstance(defaults, Mapping)]
    options = {
        _option(name): value
        for name, value in first.trial.task_options.items()
        if all(defaults.get(name, _MISSING) == value for defaults in of_tasks or [{name: None}])
    }
    usual |= {**options, MACHINE: machines.get(first.environment_id)}
    return {_name(name): setting_in_words(value) for name, value in usual.items()}


_name = lru_cache(maxsize=None)(one_line)


@lru_cache(maxsize=10_000, typed=True)
def setting_in_words(value: Any) -> str:
    """Return a value as text, with enough digits to tell it from any other."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or setting_in_words(None)
    if isinstance(value, bool) or value is None:
        return {None: "none", True: "yes", False: "no"}[value]
    short = f"{value:g}"
    return short if isinstance(value, float) and float(short) == value else repr(value)


def _follows_length(
    name: str, records: Sequence[Record], settings: Sequence[dict[str, str]]
) -> bool:
    values: dict[int, set[str | None]] = {}
    for record, setting in zip(records, settings, strict=True):
        values.setdefault(record.trial.length, set()).add(setting.get(name))
    return all(len(distinct) == 1 for distinct in values.values())


def _of_gates(
    names: Sequence[str], records: Sequence[Record], settings: Sequence[dict[str, str]]
) -> dict[str, str]:
    """Return the options of a memory gate that all cells with one share, and these cells."""
    shared = {}
    for name in GATE_OPTIONS:
        by_cell: dict[str, set[str]] = {}
        for record, setting in zip(records, settings, strict=True):
            by_cell.setdefault(record.trial.cell, set()).add(setting[name])
        values = set().union(*by_cell.values()) - {setting_in_words(None)}
        cells = [cell for cell, own in by_cell.items() if own != {setting_in_words(None)}]
        if name in names and len(values) == 1 and all(len(own) == 1 for own in by_cell.values()):
            shared[name] = f"{values.pop()} ({', '.join(cells)})"
    return shared


def _in_words(settings: Mapping[str, str], by_length: Sequence[str]) -> str:
    """Return settings in words, in the order of a trial's fields."""
    order = [*_FIRST, *(name for name in settings if name not in (*_FIRST, *_LAST)), *_LAST]
    words = [_word(name, settings) for name in order if name in settings]
    words += [f"{name.replace('_', ' ')} by length" for name in by_length]
    return " · ".join(filter(None, words))


def _word(name: str, settings: Mapping[str, str]) -> str:
    value = settings[name]
    if name == "learning_rate" and "optimizer" in settings:
        return ""  # the word of the optimizer says it
    if name == "optimizer":
        return f"{value} {settings.get('learning_rate', '')}".strip()
    if name in _BARE:
        return value
    if name in ("threads", "devices"):
        return f"{value} {name if value != '1' else name[:-1]}"
    return f"{'clip' if name == 'clip_norm' else name.replace('_', ' ')} {value}"
