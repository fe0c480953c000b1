"""Noise floors: the relative change of equal code, measured by ``harness doctor`` or assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


def floor_of(record: Record) -> Floor:
    """Return the noise floor that a record holds, or the assumed one."""
    content = record.details.get("noise_floor")
    if not isinstance(content, Mapping):
        return Floor()
    return Floor(float(content["value"]), bool(content["measured"]))
