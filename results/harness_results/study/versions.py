"""Versions of libraries, and which differ between two sides or interpreters."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.contract.records.record import Record
from harness_results.study.networks import OWN
from harness_results.text.format import as_mapping, one_line

ABSENT = "none"
MOST = 8  # libraries on one line
DIGITS = 12  # of a commit
DISTRIBUTION = "rnn-harness"  # whose version is the harness's


def versions(records: Iterable[Record]) -> dict[str, list[str]]:
    """Return name -> versions of the harness, libraries and plugins of the records."""
    alike = {(id(record.environment), record.harness_version): record for record in records}
    return _united(map(_libraries, alike.values()))


def differing(sides: Sequence[Sequence[Record]]) -> dict[str, tuple[str, ...]]:
    """Return name -> version on each side, for every name whose versions differ.

    A record lists only the libraries of its backend. So a library that one side lacks counts only
    if all sides ran the same backends.
    """
    of_sides = [_united(map(software, side)) for side in sides]
    backends = [{record.trial.backend for record in side if record.environment} for side in sides]
    alike = all(names == backends[0] for names in backends)
    differences = {}
    for name in dict.fromkeys(itertools.chain.from_iterable(of_sides)):
        texts = tuple(" or ".join(side.get(name, [ABSENT])) for side in of_sides)
        if len(set(texts)) > 1 and (alike or ABSENT not in texts):
            differences[name] = texts
    return differences


def _libraries(record: Record) -> dict[str, Any]:
    harness = {"harness": record.harness_version} if record.harness_version else {}
    plugins = dict(as_mapping(record.environment.get("plugins")))
    plugins.pop(DISTRIBUTION, None)
    return {**harness, **as_mapping(record.environment.get("libraries")), **plugins}


def software(record: Record) -> dict[str, Any]:
    """Return the versions of Python, the harness, libraries and plugins, and the commit."""
    python = as_mapping(record.environment.get("python")).get("version")
    commit = str(record.environment.get("commit") or "")[:DIGITS]
    software = {"Python": python, **_libraries(record), "commit": commit}
    return {name: version for name, version in software.items() if version}


def _united(versions_of_records: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    united: dict[str, dict[str, None]] = {}
    for versions_of_record in versions_of_records:
        for name, version in versions_of_record.items():
            united.setdefault(one_line(name), {})[one_line(version)] = None
    return {name: list(distinct) for name, distinct in united.items()}


def in_words(names: Sequence[str], differences: Mapping[str, Sequence[str]]) -> list[str]:
    """Return one text for each side: its name and its versions of the libraries that differ."""
    shown = list(differences.items())[:MOST]
    more = f" and {len(differences) - MOST} more" if len(differences) > MOST else ""
    words = []
    for side, name in enumerate(names):
        libraries = ", ".join(f"{library} {texts[side]}" for library, texts in shown)
        words.append(f"{one_line(name)}: {libraries}{more}")
    return words


def legend(records: Sequence[Record]) -> list[str]:
    """Return a line of versions for each interpreter, if they differ."""
    sides: dict[str, list[Record]] = {}
    for record in records:
        sides.setdefault(record.trial.python or OWN, []).append(record)
    differences = differing(list(sides.values())) if len(sides) > 1 else {}
    return [f"python {words}" for words in in_words(list(sides), differences) if differences]
