"""Notes on substitutions: a plan never runs something else silently.

A backend that could use an accelerator finds none and runs on the CPU; a variant turns out to be
missing when the backend chooses one; a framework does not ship a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.contract import Backend, Missing, Trial
from harness.contract.accelerators import device_file
from harness.contract.errors import with_fix
from harness.contract.wording import split_engine
from harness.plan.request import PlanRequest
from harness.plugins import query


def device_notes(
    request: PlanRequest, trials: Iterable[Trial], backends: Mapping[str, Backend]
) -> list[str]:
    """Return a note for each backend that ``auto`` leaves on the CPU although a driver exists."""
    file = device_file()
    if file is None or not _asks_for_auto(request):
        return []
    fix = "install its library for this accelerator, or give --device cpu"
    return [
        f"{name} runs on the CPU: it finds no accelerator, although there is {file}; {fix}"
        for name in dict.fromkeys(trial.backend for trial in trials)
        if _finds_none(backends[name])
    ]


def variant_notes(lost: Mapping[str, Mapping[str, Missing]]) -> list[str]:
    """Return a note for each variant of ``lost``: backend -> variant -> why it is missing."""
    backends: dict[tuple[str, Missing], list[str]] = {}
    for backend, variants in lost.items():
        for variant, why in variants.items():
            backends.setdefault((variant, why), []).append(backend)
    notes, trials = [], "trials that would have taken it"
    for (variant, why), names in backends.items():
        reason = with_fix(" ".join(why.reason.split()), why.fix)
        problem = f"{variant} is not available to {', '.join(names)}"
        notes.append(f"{problem}, so {trials} run as another variant: {reason}")
    return notes


def layer_notes(without_layer: Mapping[str, Iterable[str]]) -> list[str]:
    """Return a note for each engine that runs cells for which its framework ships no layer."""
    return [
        f"{split_engine(engine)[0]} ships no layer for {', '.join(cells)}: it runs as {engine}"
        for engine, cells in without_layer.items()
    ]


def gate_notes(without_gate: Mapping[str, Iterable[str]]) -> list[str]:
    """Return a note for each option of the memory gate that was set for cells without one."""
    return [
        f"{option} does not apply to {', '.join(cells)}, which has no memory gate: left out there"
        for option, cells in without_gate.items()
    ]


def _asks_for_auto(request: PlanRequest) -> bool:
    asked = {device for axes in request.products() for device in axes.get("device", ("auto",))}
    return "auto" in asked or any(extra.get("device") == "auto" for extra in request.include)


def _finds_none(backend: Backend) -> bool:
    """Return whether the backend looks for devices and finds the CPU alone."""
    return type(backend).devices is not Backend.devices and query.devices(backend) == ("cpu",)
