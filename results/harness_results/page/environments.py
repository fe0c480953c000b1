"""Where records were measured: every environment with its trials, and warnings about mixtures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract.records.record import Record
from harness.contract.wording import counted
from harness_results.study.versions import versions
from harness_results.text.format import UNKNOWN, as_mapping, number, one_line
from harness_results.text.words import listed

UNREPORTED = "not reported"  # the environment of a trial that did not begin
MOST_LIBRARIES = 12  # listed for one environment


@dataclass(frozen=True)
class Environment:
    """A machine with its system and Python, and what ran on it.

    Attributes:
        identity: the environment's id.
        trials: the number of trials measured there.
        facts: name -> text.
    """

    identity: str
    trials: int
    facts: Mapping[str, str]


def environments(records: Sequence[Record]) -> list[Environment]:
    """Return every environment, that with most trials first.

    If a fact differs between the trials of an environment, all its values are given.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.environment_id or ""].append(record)
    return [
        Environment(one_line(name) or UNREPORTED, len(members), _facts(members))
        for name, members in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]


def warnings(records: Sequence[Record]) -> list[str]:
    """Return what makes the trials hard to compare: several machines, several versions."""
    texts = []
    count = len(_environment_ids(records))
    if count > 1:
        texts.append(
            f"These trials come from {count} environments. Losses can be compared; speeds and "
            "memory only within one environment."
        )
    mixed = [name for name, each in versions(records).items() if len(each) > 1]
    if mixed:
        texts.append(f"Several versions are mixed: {listed(mixed)}. See the table of environments.")
    return texts


def measured_between(records: Sequence[Record]) -> str:
    """Return when the trials were measured, in words; empty if that is not known."""
    days = sorted(one_line(record.started_at)[:10] for record in records if record.started_at)
    if not days:
        return ""
    when = f"on {days[0]}" if days[0] == days[-1] else f"from {days[0]} to {days[-1]}"
    count = len(_environment_ids(records))
    return f"Measured {when}" + (f" in {counted(count, 'environment')}." if count else ".")


def _environment_ids(records: Sequence[Record]) -> set[str]:
    return {record.environment_id for record in records if record.environment_id}


def _facts(records: Sequence[Record]) -> dict[str, str]:
    texts: dict[str, dict[str, None]] = defaultdict(dict)
    alike = {id(record.environment): record.environment for record in records}
    for environment in alike.values():
        for name, text in _machine(environment):
            texts[name][one_line(text)] = None
    facts = {name: " or ".join(each) for name, each in texts.items()}
    libraries = [f"{name} {' or '.join(each)}" for name, each in versions(records).items()]
    return facts | ({"versions": listed(libraries, MOST_LIBRARIES)} if libraries else {})


def _machine(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is known about the machine."""
    cpu, cores = as_mapping(environment.get("cpu")), as_mapping(environment.get("cores"))
    if cpu.get("model"):
        yield "processor", str(cpu["model"])
    if cores.get("physical"):
        yield "cores", f"{cores['physical']} ({cores.get('logical', UNKNOWN)} logical)"
    if isinstance(environment.get("memory_gibibytes"), int | float):
        yield "memory", f"{number(environment['memory_gibibytes'])} GiB"
    gpus = [str(as_mapping(gpu).get("name")) for gpu in environment.get("gpus") or ()]
    if gpus:
        yield "GPUs", ", ".join(gpus)
    system, python = as_mapping(environment.get("system")), as_mapping(environment.get("python"))
    if system.get("name"):
        yield "system", f"{system['name']} {system.get('release', '')}".strip()
    if python.get("version"):
        yield "Python", str(python["version"])
