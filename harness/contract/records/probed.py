"""What probes measured of a trained network, as the details of its record hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.contract.probes import Curve
from harness.contract.records.columns import LARGEST

PROBES = "probes"  # the detail of a record: probe -> what it measured
WEIGHTS_AT = "weights_at"  # the detail: steps of training whose weights are kept, with 0
STEP = "training_step"  # the axis of a figure over training


@dataclass(frozen=True)
class Probed:
    """The results of one probe.

    Attributes:
        name: of the probe.
        version: of the probe; None: unknown.
        figures: name -> value; None: it does not exist for this network.
        curves: name -> series.
        says: name of a figure -> what it says.
        failed: why there are no results; None: there are.
        over_training: name of a figure -> its series over the steps of training, with 0 and the
            last; empty: it was measured at the end only.
        failed_at: step of training -> why there is no result then.
    """

    name: str
    version: int | None
    figures: Mapping[str, float | None] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    says: Mapping[str, str] = field(default_factory=dict)
    failed: str | None = None
    over_training: Mapping[str, Curve] = field(default_factory=dict)
    failed_at: Mapping[str, str] = field(default_factory=dict)


def probed(details: Mapping[str, Any]) -> dict[str, Probed]:
    """Return probe -> its results, from the details of a record.

    Values of a wrong kind are left out.
    """
    return {str(name): _read(name, each) for name, each in _mapping(details, PROBES).items()}


def probe_figures(details: Mapping[str, Any]) -> dict[str, float | None]:
    """Return all figures by their full names, such as ``probe.memory.capacity``."""
    return {
        f"probe.{name}.{figure}": value
        for name, each in probed(details).items()
        for figure, value in each.figures.items()
    }


def probe_flags(details: Mapping[str, Any]) -> list[str]:
    """Return a flag for each probe that failed, and for each step of training at which one did."""
    flags = []
    for each in probed(details).values():
        flags += [f"probe {each.name} failed: {each.failed}"] if each.failed else []
        flags += [
            f"probe {each.name} failed at step {step}: {reason}"
            for step, reason in each.failed_at.items()
        ]
    return flags


def merged(stored: Any, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the probes of a record of which there are two measurements.

    Of two results of a probe that of the higher version stays. Of equal versions: one that did not
    fail, then one with more steps of training, then the later one.

    Args:
        stored: probe -> what it measured, as stored; anything else counts as nothing.
        new: the same, measured later or found in another store.
    """
    results = dict(stored) if isinstance(stored, Mapping) else {}
    for name, content in new.items():
        if name not in results or _rank(content) >= _rank(results[name]):
            results[name] = content
    return results


def _rank(content: Any) -> tuple[int, bool, int, str]:
    """Return a value that is larger for the result to keep."""
    result = _read("", content)
    steps = max((len(curve.at) for curve in result.over_training.values()), default=0)
    measured_at = content.get("measured_at", "") if isinstance(content, Mapping) else ""
    return result.version or 0, result.failed is None, steps, str(measured_at)


def _read(name: Any, content: Any) -> Probed:
    content = content if isinstance(content, Mapping) else {}
    version, failed = content.get("version"), content.get("failed")
    return Probed(
        str(name),
        version if isinstance(version, int) else None,
        {str(key): _number(value) for key, value in _mapping(content, "figures").items()},
        _curves(content, "curves"),
        {str(key): str(text) for key, text in _mapping(content, "says").items()},
        None if failed is None else str(failed),
        _curves(content, "over_training"),
        {str(key): str(text) for key, text in _mapping(content, "failed_at").items()},
    )


def _curves(content: Mapping[str, Any], name: str) -> dict[str, Curve]:
    curves = {str(key): _curve(value) for key, value in _mapping(content, name).items()}
    return {key: curve for key, curve in curves.items() if curve is not None}


def _curve(content: Any) -> Curve | None:
    if not isinstance(content, Mapping):
        return None
    at, values = content.get("at"), content.get("values")
    if not isinstance(at, list) or not isinstance(values, list):
        return None
    points = [(_number(x), _number(y)) for x, y in zip(at, values, strict=False)]
    placed = [(x, y) for x, y in points if x is not None]
    return Curve(str(content.get("along")), [x for x, _ in placed], [y for _, y in placed])


def _mapping(content: Mapping[str, Any], name: str) -> Mapping[Any, Any]:
    value = content.get(name)
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | int | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) <= LARGEST else None
