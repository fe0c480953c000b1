"""Where records were measured: every environment with its trials, and a warning where they are mixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract.records.record import Record
from harness.contract.wording import counted
from harness_results.page.words import listed
from harness_results.study.versions import versions
from harness_results.text.format import UNKNOWN, number, one_line

MOST_LIBRARIES = 12  # told of one environment


@dataclass(frozen=True)
class Environment:
    """A machine with its system and Python, and what ran on it.

    Attributes:
        identity: the environment's id.
        trials: how many trials were measured there.
        facts: name -> text.
    """

    identity: str
    trials: int
    facts: Mapping[str, str]


def environments(records: Sequence[Record]) -> list[Environment]:
    """Return every environment, that of most trials first; of what differs between its trials all values."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.environment_id or "", []).append(record)
    found = [
        Environment(one_line(name) or UNKNOWN, len(some), _facts(some))
        for name, some in groups.items()
    ]
    return sorted(found, key=lambda environment: -environment.trials)


def warnings(records: Sequence[Record]) -> list[str]:
    """Return what makes the trials hard to compare: several machines, several versions."""
    known = {record.environment_id for record in records if record.environment_id}
    found = []
    if len(known) > 1:
        found.append(
            f"These trials come from {len(known)} environments. Losses can be compared; speeds and memory only within "
            "one environment."
        )
    mixed = [name for name, each in versions(records).items() if len(each) > 1]
    if mixed:
        found.append(f"Several versions are mixed: {listed(mixed)}. See the table of environments.")
    return found


def _facts(records: Sequence[Record]) -> dict[str, str]:
    found: dict[str, dict[str, None]] = {}
    for record in records:
        for name, text in _machine(record.environment):
            found.setdefault(name, {})[one_line(text)] = None
    libraries = [f"{name} {' or '.join(each)}" for name, each in versions(records).items()]
    return {name: " or ".join(texts) for name, texts in found.items()} | (
        {"versions": listed(libraries, MOST_LIBRARIES)} if libraries else {}
    )


def _machine(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the machine is, as far as it is known."""
    cpu, cores = _mapping(environment.get("cpu")), _mapping(environment.get("cores"))
    if cpu.get("model"):
        yield "processor", str(cpu["model"])
    if cores.get("physical"):
        yield "cores", f"{cores['physical']} ({cores.get('logical', UNKNOWN)} logical)"
    if isinstance(environment.get("memory_gibibytes"), int | float):
        yield "memory", f"{number(environment['memory_gibibytes'])} GiB"
    cards = [str(_mapping(card).get("name")) for card in environment.get("gpus") or ()]
    if cards:
        yield "cards", ", ".join(cards)
    system, python = _mapping(environment.get("system")), _mapping(environment.get("python"))
    if system.get("name"):
        yield "system", f"{system['name']} {system.get('release', '')}".strip()
    if python.get("version"):
        yield "Python", str(python["version"])


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def measured_between(records: Sequence[Record]) -> str:
    """Return when the trials were measured, in words; empty where that is not known."""
    days = sorted(one_line(record.started_at)[:10] for record in records if record.started_at)
    if not days:
        return ""
    when = f"on {days[0]}" if days[0] == days[-1] else f"from {days[0]} to {days[-1]}"
    places = {record.environment_id for record in records if record.environment_id}
    return f"Measured {when}" + (f" in {counted(len(places), 'environment')}." if places else ".")
