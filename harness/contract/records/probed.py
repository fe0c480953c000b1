"""What probes measured of a trained network, as the details of its record hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.contract.probes import Curve

PROBES = "probes"  # the detail of a record: probe -> what it measured


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
    """

    name: str
    version: int | None
    figures: Mapping[str, float | None] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    says: Mapping[str, str] = field(default_factory=dict)
    failed: str | None = None


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
    """Return a flag for each probe that failed."""
    results = probed(details).values()
    return [f"probe {each.name} failed: {each.failed}" for each in results if each.failed]


def _read(name: Any, content: Any) -> Probed:
    content = content if isinstance(content, Mapping) else {}
    version, failed = content.get("version"), content.get("failed")
    curves = {key: _curve(value) for key, value in _mapping(content, "curves").items()}
    return Probed(
        str(name),
        version if isinstance(version, int) else None,
        {str(key): _number(value) for key, value in _mapping(content, "figures").items()},
        {str(key): curve for key, curve in curves.items() if curve is not None},
        {str(key): str(text) for key, text in _mapping(content, "says").items()},
        None if failed is None else str(failed),
    )


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
    return value if is_number else None
