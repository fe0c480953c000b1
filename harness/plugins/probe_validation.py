"""Checks what a probe returns. A wrong value raises ``PluginError`` with the plugin's label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np

from harness.contract import PluginError
from harness.contract.probes import Curve, Findings, Probe
from harness.contract.wording import NAME_PATTERN
from harness.plugins.validation import answer_text, finite_number, invalid_answer

MOST_POINTS = 10_000  # of a curve


def checked_findings(probe: Probe, findings: Any, label: str) -> dict[str, Any]:
    """Return figures and curves of a probe as JSON values.

    Raises:
        PluginError: a name is not declared, a number is not finite, or a curve is not a curve.
    """
    if not isinstance(findings, Findings) or not isinstance(findings.figures, Mapping):
        raise invalid_answer("measure", "Findings", findings, label)
    unknown = sorted(map(str, set(findings.figures) - set(probe.figures)))
    if unknown:
        raise PluginError(f"invalid measure: {', '.join(unknown)} is not in figures; {label}")
    curves = findings.curves if isinstance(findings.curves, Mapping) else {"curves": None}
    return {
        "says": dict(probe.figures),
        "figures": {
            name: _number_or_none(name, findings.figures.get(name), label) for name in probe.figures
        },
        "curves": {name: _checked_curve(name, curve, label) for name, curve in curves.items()},
    }


def _checked_curve(name: Any, curve: Any, label: str) -> dict[str, Any]:
    what = f"curve {answer_text(name)}"
    names = [name, getattr(curve, "along", None)]
    if not isinstance(curve, Curve) or not all(map(_is_name, names)):
        raise invalid_answer(what, "a Curve with a name and an axis", curve, label)
    if not _is_series(curve.at) or not _is_series(curve.values):
        raise invalid_answer(what, f"two series of at most {MOST_POINTS:,} numbers", curve, label)
    if len(curve.at) != len(curve.values):
        lengths = f"{len(curve.at)} and {len(curve.values)}"
        raise PluginError(f"invalid {what}: at and values have {lengths} numbers; {label}")
    at = [_number_or_none(what, value, label) for value in curve.at]
    values = [_number_or_none(what, value, label) for value in curve.values]
    return {"along": curve.along, "at": at, "values": values}


def _is_name(name: Any) -> bool:
    return isinstance(name, str) and NAME_PATTERN.fullmatch(name) is not None


def _is_series(values: Any) -> bool:
    return isinstance(values, Sequence | np.ndarray) and len(values) <= MOST_POINTS


def _number_or_none(what: str, value: Any, label: str) -> float | int | None:
    """Return a number of any library as Python's own.

    Raises:
        PluginError: it is not finite.
    """
    if value is None:
        return None
    number = finite_number(value)
    if number is None:
        raise invalid_answer(what, "a finite number or None", value, label)
    return int(number) if isinstance(value, Integral) else number
