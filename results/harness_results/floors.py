"""Noise floors: the relative change that equal code reaches by itself, as measured by ``harness doctor`` or assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness_results.statistics import DEFAULT_FLOOR, noise_floor


@dataclass(frozen=True)
class Floor:
    """The relative change that equal code reaches by itself; ``measured``: of this very engine, not assumed."""

    value: float = DEFAULT_FLOOR
    measured: bool = False


def measured_floors(calibrations: Mapping[str, Any], launches: int) -> dict[str, Floor]:
    """Return engine -> noise floor of A-against-A runs kept in a store; ``"*"``: their median, assumed of others.

    Args:
        calibrations: name -> content of one environment; those named ``noise/ENGINE`` hold seconds per step.
        launches: on each side of the comparison.
    """
    found = {}
    for name, content in calibrations.items():
        if name.startswith("noise/"):
            a, b = content["seconds_per_step_a"], content["seconds_per_step_b"]
            found[name.removeprefix("noise/")] = Floor(noise_floor(a, b, launches), measured=True)
    if found:
        found["*"] = Floor(median(floor.value for floor in found.values()))
    return found
