"""The environments of two sets of records, and the facts in which they differ."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from harness.contract.records.record import Record, stable_facts
from harness.contract.trial import Trial
from harness_results.compare.verdicts import Key, same_trial

Environments = dict[str, Mapping[str, Any]]  # environment_id -> environment


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
        key: two records are compared if their trials have the same key.
        ignored: facts that may differ.
    """
    left, right = _by_trial(base, key), _by_trial(new, key)
    texts = (_differences(left[name], right[name], ignored) for name in left if name in right)
    return list(dict.fromkeys(itertools.chain.from_iterable(texts)))


def _differences(left: Environments, right: Environments, ignored: Sequence[str]) -> list[str]:
    if set(left) == set(right) or not left or not right:
        return []
    first, second = stable_facts(_of_one_side(left, right)), stable_facts(_of_one_side(right, left))
    texts = []
    for name in first | second:
        before, after = first.get(name), second.get(name)
        if name not in ignored and before != after:
            texts.append(f"{name}: {_brief(before)} against {_brief(after)}")
    if not texts and not ignored:
        return [f"environment {', '.join(sorted(left))} against {', '.join(sorted(right))}"]
    return texts


def _of_one_side(environments: Environments, others: Environments) -> Mapping[str, Any]:
    """Return an environment of the one side that the other lacks, if any."""
    chosen = next((name for name in environments if name not in others), next(iter(environments)))
    return environments[chosen] if isinstance(environments[chosen], Mapping) else {}


def _by_trial(records: Iterable[Record], key: Callable[[Trial], Key]) -> dict[Key, Environments]:
    by_trial: dict[Key, Environments] = {}
    for record in records:
        environments = by_trial.setdefault(key(record.trial), {})
        if record.environment_id is not None:
            environments[record.environment_id] = record.environment
    return by_trial


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        parts = {name: item for name, item in value.items() if name != "features"}
        return json.dumps(parts, sort_keys=True)
    return str(value)
