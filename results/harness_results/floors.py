"""What equal code reaches by itself: the noise floor of launches that took turns, and the drift between runs.

Both are measured by ``harness doctor``, or assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness_results.statistics import DEFAULT_DRIFT, DEFAULT_FLOOR, noise_floor, run_drift

FEWEST_RUNS = 3  # of the doctor, from which a drift between runs can be told


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


def measured_drifts(medians: Mapping[str, Sequence[float]]) -> dict[str, Floor]:
    """Return engine -> the relative change between runs of equal code; ``"*"``: the largest, assumed of all others.

    Args:
        medians: engine -> seconds per step, one median per run of the doctor on the machine.
    """
    found = {name: Floor(run_drift(runs), measured=True) for name, runs in medians.items() if len(runs) >= FEWEST_RUNS}
    largest = max((drift.value for drift in found.values()), default=DEFAULT_DRIFT)
    return {**found, "*": Floor(largest)}
