"""Where two sets of records were measured, and what tells these places apart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.contract.record import STABLE_FACTS, Record


def different_facts(base: Iterable[Record], new: Iterable[Record], ignored: Sequence[str] = ()) -> list[str]:
    """Return which stable facts of the environments differ between the sides, as text; [] where they are the same."""
    left, right = _places(base), _places(new)
    if set(left) == set(right) or not left or not right:
        return []
    one, other = _of_one_side(left, right), _of_one_side(right, left)
    names = [name for name in STABLE_FACTS if name not in ignored and one.get(name) != other.get(name)]
    if not names and not ignored:
        return [f"environment {', '.join(sorted(left))} against {', '.join(sorted(right))}"]
    return [f"{name}: {_brief(one.get(name))} against {_brief(other.get(name))}" for name in names]


def _of_one_side(places: Mapping[str, Any], others: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an environment of the one side that the other lacks, if any."""
    chosen = next((name for name in places if name not in others), next(iter(places)))
    return places[chosen] if isinstance(places[chosen], Mapping) else {}


def _places(records: Iterable[Record]) -> dict[str, Mapping[str, Any]]:
    return {record.environment_id: record.environment for record in records if record.environment_id is not None}


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = {name: item for name, item in value.items() if name != "features"}
        return json.dumps(parts, sort_keys=True)
    return str(value)
