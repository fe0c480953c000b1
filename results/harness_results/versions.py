"""Versions of libraries that records were measured with, and which of them differ between two sides or interpreters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.contract.record import Record
from harness_results.networks import OWN
from harness_results.text import one_line

ABSENT = "none"
MOST = 8  # libraries in one line
DIGITS = 12  # of a commit
DISTRIBUTION = "rnn-harness"  # whose version is the harness's


def versions(records: Iterable[Record]) -> dict[str, list[str]]:
    """Return name -> versions, of the harness and of the libraries and plugins that the records were measured with."""
    return _united(map(_libraries, records))


def differing(sides: Sequence[Sequence[Record]]) -> dict[str, tuple[str, ...]]:
    """Return name -> version on each side of whatever differs, Python and the harness's commit included.

    What a side lacks counts where all sides ran the same backends: each record knows the libraries of its own.
    """
    known = [_united(map(_software, side)) for side in sides]
    backends = [{record.trial.backend for record in side if record.environment} for side in sides]
    alike = all(names == backends[0] for names in backends)
    names = dict.fromkeys(name for one in known for name in one)
    found = {name: tuple(" or ".join(one.get(name, [ABSENT])) for one in known) for name in names}
    return {name: texts for name, texts in found.items() if len(set(texts)) > 1 and (alike or ABSENT not in texts)}


def _libraries(record: Record) -> dict[str, Any]:
    harness = {"harness": record.harness_version} if record.harness_version else {}
    plugins = {name: one for name, one in _mapping(record.environment.get("plugins")).items() if name != DISTRIBUTION}
    return {**harness, **_mapping(record.environment.get("libraries")), **plugins}


def _software(record: Record) -> dict[str, Any]:
    python = _mapping(record.environment.get("python")).get("version")
    commit = str(record.environment.get("commit") or "")[:DIGITS]
    found = {"Python": python, **_libraries(record), "commit": commit}
    return {name: one for name, one in found.items() if one}


def _united(found: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    united: dict[str, dict[str, None]] = {}
    for one in found:
        for name, version in one.items():
            united.setdefault(one_line(name), {})[one_line(version)] = None
    return {name: list(known) for name, known in united.items()}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def in_words(names: Sequence[str], found: Mapping[str, Sequence[str]]) -> list[str]:
    """Return one text for each side: its name, and its versions of what differs."""
    shown = list(found.items())[:MOST]
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return [
        f"{one_line(name)}: {', '.join(f'{library} {texts[side]}' for library, texts in shown)}{more}"
        for side, name in enumerate(names)
    ]


def legend(records: Sequence[Record]) -> list[str]:
    """Return a line for each interpreter of the records with its versions; none where there is one or all agree."""
    sides: dict[str, list[Record]] = {}
    for record in records:
        sides.setdefault(record.trial.python or OWN, []).append(record)
    found = differing(list(sides.values())) if len(sides) > 1 else {}
    return [f"python {words}" for words in in_words(list(sides), found)] if found else []
