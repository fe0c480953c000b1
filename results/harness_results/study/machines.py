"""Which machine a record is from: a short name for each, and a line that describes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.contract.records.record import Record, stable_facts
from harness_results.text.format import UNKNOWN, as_mapping, one_line

MACHINE = "machine"  # the name of the row label
SHORTEST, LONGEST = 4, 64  # digits of an environment's id in a name


def machine_names(records: Sequence[Record]) -> dict[str | None, str]:
    """Return environment_id -> name if records must be told apart by machine, otherwise {}.

    They must if a trial was measured in several environments, or if environments differ in more
    than Python, which has a label of its own. A name is the shortest unique start of the id.
    """
    by_id = {record.environment_id: record for record in records}
    ids = [environment_id for environment_id in by_id if environment_id is not None]
    machines = {
        hardware(by_id[each].environment) if by_id[each].environment else each for each in ids
    }
    if len(machines) <= 1 and not _a_trial_twice(records):
        return {}
    digits = SHORTEST
    while digits < LONGEST and len({each[:digits] for each in ids}) < len(ids):
        digits += 1
    return {each: UNKNOWN if each is None else one_line(each[:digits]) for each in by_id}


def legend(records: Iterable[Record], names: Mapping[str | None, str]) -> list[str]:
    """Return one line per machine: its name, its processor and other facts of its environment."""
    first: dict[str | None, Record] = {}
    for record in records:
        first.setdefault(record.environment_id, record)
    return [
        f"{MACHINE} {name}: {_in_words(first[environment_id].environment)}"
        for environment_id, name in names.items()
        if environment_id is not None and environment_id in first
    ]


def _a_trial_twice(records: Iterable[Record]) -> bool:
    environments: dict[str, set[str | None]] = {}
    for record in records:
        environments.setdefault(record.trial.trial_id, set()).add(record.environment_id)
    return any(len(ids) > 1 for ids in environments.values())


def hardware(environment: Mapping[str, Any]) -> str:
    """Return the stable facts of an environment without its Python, as text to be compared."""
    facts = stable_facts(environment)
    facts.pop("python")
    return json.dumps(facts, sort_keys=True, default=str)


def _in_words(environment: Mapping[str, Any]) -> str:
    cpu, system, python, counts = (
        as_mapping(environment.get(name)) for name in ("cpu", "system", "python", "cores")
    )
    cores, memory = counts.get("logical"), environment.get("memory_gibibytes")
    gpus = [str(as_mapping(gpu).get("name")) for gpu in environment.get("gpus") or ()]
    facts = [
        cpu.get("model"),
        cores and f"{cores} core{'s' * (cores != 1)}",
        memory and f"{memory} GiB",
        *gpus,
        " ".join(str(system[name]) for name in ("name", "release") if system.get(name)),
        python.get("version") and f"Python {python['version']}",
    ]
    return one_line(", ".join(str(fact) for fact in facts if fact) or "not described")
