"""Reads a stored record: every value has the kind that its readers expect.

A store may hold a record of another version or of a broken plugin, or one that somebody edited. A
figure or a detail of a wrong kind, or a number beyond any measurement, is left out here, and a flag
of the record names it. Curves are checked by their readers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from sys import intern
from typing import Any

from harness.contract.records.columns import LARGEST, LOSS, POSITIVE, Column

DEEPEST = 32  # levels of lists and mappings
LONGEST = 100  # characters of a name in the flag
REMEMBERED = 8  # environments that are not read anew
NAMED = 8  # of the values that cannot be read, in the flag
UNREADABLE = "the stored record holds values that cannot be read: {}"

# (value, names of the values left out so far) -> the value, or _OUT
Read = Callable[[Any, list[str]], Any]
_OUT = object()  # marks a value that is left out


def readable(
    content: Mapping[str, Any], columns: Iterable[Column], statuses: Collection[str]
) -> dict[str, Any]:
    """Return the parts of a record without the values that no reader expects.

    Args:
        content: name -> part of a record.
        columns: of the figures.
        statuses: with which a launch may end.
    """
    left: list[str] = []
    items = _items(content, _readers(tuple(columns), tuple(statuses)), _TEXT, left)
    parts: dict[str, Any] = {name: None if v is _OUT else v for name, v in items.items()}
    if left:
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        flag = UNREADABLE.format(", ".join(name[1:LONGEST] for name in left[:NAMED]) + more)
        flags = parts["details"].get("flags") or ()
        parts["details"] = {**parts["details"], "flags": [*flags, flag]}
    return parts


@cache
def _readers(columns: tuple[Column, ...], statuses: tuple[str, ...]) -> Mapping[str, Read]:
    """Return the readers of the parts of a record."""
    kinds = {
        column.name: _none_or(_bool) if column.type is bool else _number_within(*column.within)
        for column in columns
    }
    launch = {**kinds, "status": _status(statuses), "started_at": _TEXT, "wall_seconds": _LEAST}
    details = _mapping({**_DETAILS, "launch_figures": _list(_mapping(launch))})
    figures = _mapping(kinds)
    return {
        "figures": figures,
        "curves": _MANY,
        "details": details,
        "environment": _once(_ENVIRONMENT),
    }


def readable_curve(content: Any) -> Any:
    """Return a stored curve without the values that no reader expects; None if nothing is left."""
    curve = _any(content, [])
    return None if curve is _OUT else curve


def _status(statuses: Collection[str]) -> Read:
    """Return a reader of a launch's status: an unknown one becomes ``failed``, without a speed."""

    def read(value: Any, left: list[str]) -> Any:
        if isinstance(value, str) and value in statuses:
            return value
        _without(left)
        return "failed"

    return read


def _within(least: float, most: float) -> Read:
    def read(value: Any, left: list[str]) -> Any:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return value if is_number and least <= value <= most else _without(left)

    return read


def _count(value: Any, left: list[str]) -> Any:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and 1 <= value <= LARGEST else _without(left)


def _bool(value: Any, left: list[str]) -> Any:
    return value if isinstance(value, bool) else _without(left)


def _text(value: Any, left: list[str]) -> Any:
    return _shared(value) if isinstance(value, str) else _without(left)


def _shared(text: Any) -> Any:
    """Return the text; equal short ones of thousands of records take memory once."""
    return intern(text) if type(text) is str and len(text) <= LONGEST else text


def _none_or(read: Read) -> Read:
    return lambda value, left: None if value is None else read(value, left)


def _number_within(least: float, most: float) -> Read:
    """Return ``_none_or(_within(least, most))`` in one call: records hold mostly numbers."""
    read = _none_or(_within(least, most))
    return lambda value, left: (
        value if type(value) is float and least <= value <= most else read(value, left)
    )


def _items(
    value: Mapping[Any, Any], names: Mapping[str, Read], other: Read, left: list[str]
) -> dict[Any, Any]:
    items = {}
    for key, item in value.items():
        before = len(left)
        items[_shared(key)] = names.get(key, other)(item, left)
        if len(left) > before:
            left[before:] = [f".{key}{name}" for name in left[before:]]
    return items


def _mapping(names: Mapping[str, Read], other: Read | None = None) -> Read:
    """Return a reader of mappings: ``names`` have readers, ``other`` reads the rest."""

    def read(value: Any, left: list[str]) -> Any:
        if not isinstance(value, Mapping):
            return _without(left)
        items = _items(value, names, other or _any, left)
        return {key: item for key, item in items.items() if item is not _OUT}

    return read


def _once(read: Read) -> Read:
    """Return a reader that reads the same object once: records share a few environments."""
    latest: deque[tuple[Any, Any, list[str]]] = deque(maxlen=REMEMBERED)

    def remember(value: Any, left: list[str]) -> Any:
        entry = next((entry for entry in latest if entry[0] is value), None)
        if entry is None:
            names: list[str] = []
            entry = (value, read(value, names), names)
            latest.append(entry)
        left += entry[2]
        return entry[1]

    return remember


def _list(each: Read) -> Read:
    def read(value: Any, left: list[str]) -> Any:
        if not isinstance(value, list | tuple):
            return _without(left)
        return [item for item in (each(item, left) for item in value) if item is not _OUT]

    return read


def _any(value: Any, left: list[str], levels: int = DEEPEST) -> Any:
    """Return a value of any kind, with finite numbers and bounded depth."""
    if type(value) is str or value is None:
        return value
    if isinstance(value, int | float):
        return value if LOSS[0] <= value <= LOSS[1] else _without(left)
    if not isinstance(value, Mapping | list | tuple):
        return value
    if not levels:
        return _without(left)
    return _tree(value, left, levels)


def _tree(value: Any, left: list[str], levels: int) -> Any:
    if isinstance(value, Mapping):
        if _are_plain(value.values()):
            return {_shared(key): item for key, item in value.items()}
        items = _items(value, {}, lambda item, names: _any(item, names, levels - 1), left)
        return {key: item for key, item in items.items() if item is not _OUT}
    return _list_of_any(value, left, levels)


def _list_of_any(values: Any, left: list[str], levels: int) -> Any:
    if _are_plain(values):
        return values
    return [None if (read := _any(item, left, levels - 1)) is _OUT else read for item in values]


def _are_plain(values: Collection[Any]) -> bool:
    """Say whether these are numbers that can be read, all of one type; at the speed of C."""
    kinds = set(map(type, values))
    if kinds == {float}:
        return bool(abs(sum(values)) <= LARGEST)
    return kinds == {int} and LOSS[0] <= min(values) and max(values) <= LOSS[1]


def _without(left: list[str]) -> object:
    left.append("")
    return _OUT


_NUMBER, _LEAST = _number_within(*LOSS), _number_within(*POSITIVE)
_TEXT = _none_or(_text)
_TEXTS, _MANY = _none_or(_list(_text)), _none_or(_mapping({}))
_TIMES = _none_or(_mapping({}, _within(*POSITIVE)))
_SET: Mapping[str, Read] = {
    "name": _TEXT,
    "length": _count,
    **dict.fromkeys(("loss_validation", "loss_baseline", "loss_ratio"), _NUMBER),
    **dict.fromkeys(("accuracy", "standard_error_validation", "tokens_validation"), _LEAST),
    "solved": _none_or(_bool),
    "extra": _none_or(_mapping({}, _NUMBER)),
}
_DETAILS: Mapping[str, Read] = {
    **dict.fromkeys(("launches", "jobs"), _count),
    **dict.fromkeys(("isolation", "interval", "deviation", "loss", "distribution"), _TEXT),
    **dict.fromkeys(("node", "card"), _TEXT),
    **dict.fromkeys(("checkpoint", "log", "log_tail", "traceback"), _TEXT),
    **dict.fromkeys(("flags", "notes"), _TEXTS),
    **dict.fromkeys(("wall_seconds", "tokens_per_step", "recompilations", "best_step"), _LEAST),
    "effective_threads": _LEAST,
    **dict.fromkeys(("overfitting_gap", "best_loss_validation"), _NUMBER),
    **dict.fromkeys(("task", "task_defaults", "parity", "placement", "warm_up"), _MANY),
    **dict.fromkeys(("calibrations", "phase_seconds", "rank_step_seconds_spread"), _TIMES),
    "gradient_horizon_censored": _none_or(_bool),
    "versions": _none_or(_mapping({}, _text)),
    "limits": _none_or(
        _mapping({"peak_flops_per_second": _LEAST, "chain_seconds": _LEAST, "reason": _TEXT})
    ),
    "evaluation_sets": _none_or(_list(_mapping(_SET))),
    **dict.fromkeys(("samples", "samples_over_training"), _none_or(_list(_mapping({})))),
}  # fmt: skip
_ENVIRONMENT = _mapping(
    {
        **dict.fromkeys(("cpu", "cores", "system", "python"), _MANY),
        **dict.fromkeys(("settings", "devices", "plugins"), _MANY),
        **dict.fromkeys(("libraries", "variables"), _none_or(_mapping({}, _TEXT))),
        "gpus": _none_or(_list(_mapping({}))),
        "memory_gibibytes": _NUMBER,
    }
)
