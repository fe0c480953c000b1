"""Noise floors: the relative change of equal code, measured by ``harness doctor`` or assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from harness.contract.records.record import Record
from harness_results.study.verdicts.statistics import DEFAULT_FLOOR, noise_floor


@dataclass(frozen=True)
class Floor:
    """The relative change of equal code; ``measured`` on this engine, or else assumed."""

    value: float = DEFAULT_FLOOR
    measured: bool = False


def measured_floors(calibrations: Mapping[str, Any], launches: int) -> dict[str, Floor]:
    """Return engine -> noise floor; the key ``*`` holds their median, for other engines.

    Args:
        calibrations: name -> content of one environment; those named ``noise/ENGINE`` hold seconds
            per step.
        launches: on each side of the comparison.
    """
    floors = {}
    for name, content in calibrations.items():
        if name.startswith("noise/"):
            a, b = content["seconds_per_step_a"], content["seconds_per_step_b"]
            floors[name.removeprefix("noise/")] = Floor(noise_floor(a, b, launches), measured=True)
    if floors:
        floors["*"] = Floor(median(floor.value for floor in floors.values()))
    return floors


def with_floors(
    records: Sequence[Record], calibrations: Mapping[str, Mapping[str, Any]]
) -> list[Record]:
    """Return the records with their noise floors, if the store knows them.

    Args:
        records: one per trial and environment.
        calibrations: environment_id -> name -> content.
    """
    floors: dict[tuple[str, int], dict[str, Floor]] = {}
    return [_with_floor(record, calibrations, floors) for record in records]


def _with_floor(
    record: Record,
    calibrations: Mapping[str, Mapping[str, Any]],
    floors: dict[tuple[str, int], dict[str, Floor]],
) -> Record:
    environment, launches = record.environment_id or "", int(record.details.get("launches", 1))
    if (environment, launches) not in floors:
        floors[environment, launches] = measured_floors(calibrations.get(environment, {}), launches)
    by_engine = floors[environment, launches]
    floor = by_engine.get(record.trial.engine) or by_engine.get("*")
    return (
        record
        if floor is None
        else replace(record, details={**record.details, "noise_floor": asdict(floor)})
    )


def floor_of(record: Record) -> Floor:
    """Return the noise floor that a record holds, or the assumed one."""
    content = record.details.get("noise_floor")
    return (
        Floor(float(content["value"]), bool(content["measured"]))
        if isinstance(content, Mapping)
        else Floor()
    )
