"""Where two sets of records were measured, and what tells these places apart."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from harness.contract.records.record import Record, stable_facts
from harness.contract.trial import Trial
from harness_results.compare.verdicts import Key, same_trial

Places = dict[str, Mapping[str, Any]]  # environment_id -> environment


def different_facts(
    base: Iterable[Record],
    new: Iterable[Record],
    *,
    key: Callable[[Trial], Key] = same_trial,
    ignored: Sequence[str] = (),
) -> list[str]:
    """Return the stable facts that differ between the environments of the two sides, as text.

    Args:
        base: every launch of the one side.
        new: every launch of the other.
        key: what two records must share to be compared.
        ignored: facts that may differ.
    """
    left, right = _places(base, key), _places(new, key)
    texts = (_differences(left[name], right[name], ignored) for name in left if name in right)
    return list(dict.fromkeys(itertools.chain.from_iterable(texts)))


def _differences(left: Places, right: Places, ignored: Sequence[str]) -> list[str]:
    if set(left) == set(right) or not left or not right:
        return []
    one, other = stable_facts(_of_one_side(left, right)), stable_facts(_of_one_side(right, left))
    names = [
        name for name in one | other if name not in ignored and one.get(name) != other.get(name)
    ]
    if not names and not ignored:
        return [f"environment {', '.join(sorted(left))} against {', '.join(sorted(right))}"]
    return [f"{name}: {_brief(one.get(name))} against {_brief(other.get(name))}" for name in names]


def _of_one_side(places: Places, others: Places) -> Mapping[str, Any]:
    """Return an environment of the one side that the other lacks, if any."""
    chosen = next((name for name in places if name not in others), next(iter(places)))
    return places[chosen] if isinstance(places[chosen], Mapping) else {}


def _places(records: Iterable[Record], key: Callable[[Trial], Key]) -> dict[Key, Places]:
    by_trial: dict[Key, Places] = {}
    for record in records:
        places = by_trial.setdefault(key(record.trial), {})
        if record.environment_id is not None:
            places[record.environment_id] = record.environment
    return by_trial


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = {name: item for name, item in value.items() if name != "features"}
        return json.dumps(parts, sort_keys=True)
    return str(value)
