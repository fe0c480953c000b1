"""Which machine a record is from: a short name for each, and a line that describes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.contract.records.record import Record, stable_facts
from harness_results.text.format import UNKNOWN, as_mapping, one_line

MACHINE = "machine"  # the name of the row label
SHORTEST = 4  # digits of an environment's id


def machine_names(records: Sequence[Record]) -> dict[str | None, str]:
    """Return environment_id -> name where the records must be told apart by machine, {} where not.

    They must where a trial stands there from several environments, or where environments differ in
    more than Python, which has a label of its own. A name is the first digits of the id, as many as
    it takes.
    """
    by_id = {record.environment_id: record for record in records}
    ids = [environment for environment in by_id if environment is not None]
    hardware = {_hardware(by_id[environment]) for environment in ids}
    if len(hardware) <= 1 and not _a_trial_twice(records):
        return {}
    digits = next(
        (
            n
            for n in range(SHORTEST, 64)
            if len({environment[:n] for environment in ids}) == len(ids)
        ),
        64,
    )
    return {
        environment: UNKNOWN if environment is None else one_line(environment[:digits])
        for environment in by_id
    }


def legend(records: Iterable[Record], names: Mapping[str | None, str]) -> list[str]:
    """Return one line per machine: its name, its processor, and what else its environment is."""
    first = {
        record.environment_id: record
        for record in reversed(list(records))
        if record.environment_id in names
    }
    lines = (
        (name, first[environment])
        for environment, name in names.items()
        if environment is not None and environment in first
    )
    return [f"{MACHINE} {name}: {_in_words(record.environment)}" for name, record in lines]


def _a_trial_twice(records: Iterable[Record]) -> bool:
    environments: dict[str, set[str | None]] = {}
    for record in records:
        environments.setdefault(record.trial.trial_id, set()).add(record.environment_id)
    return any(len(ids) > 1 for ids in environments.values())


def _hardware(record: Record) -> str:
    """Return the environment without its Python, comparable; its id where it is not described."""
    if not record.environment:
        return str(record.environment_id)
    facts = stable_facts(record.environment)
    return json.dumps(
        {name: fact for name, fact in facts.items() if name != "python"},
        sort_keys=True,
        default=str,
    )


def _in_words(environment: Mapping[str, Any]) -> str:
    cpu, system, python = (
        as_mapping(environment.get(name)) for name in ("cpu", "system", "python")
    )
    cores, memory = (
        as_mapping(environment.get("cores")).get("logical"),
        environment.get("memory_gibibytes"),
    )
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
