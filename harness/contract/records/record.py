"""A record: the outcome of one trial, failed or not. Unknown is None, never 0 and never NaN."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

import numpy as np

from harness.contract.records.columns import COLUMNS, FIGURE_NAMES, FIGURES, names_of
from harness.contract.records.explosion import is_exploding
from harness.contract.records.probed import probe_figures
from harness.contract.records.readable import readable
from harness.contract.trial import Trial

STATUSES = (
    "ok", "failed", "crashed", "timeout", "out_of_memory",
    "diverged", "unsupported", "parity_failed", "interrupted",
)  # fmt: skip

TRIAL = names_of("trial")
ATTRIBUTES = names_of("outcome", "origin")
DETAILS = ("interval", "gradient_horizon_censored", "deviation")
NUMBERS = ("loss_baseline_exact", "solved_lost_at")
HORIZON_FRACTION = (
    0.01  # of its norm at lag 0: ``gradient_horizon`` is where the gradient falls below
)
STABLE_FACTS = ("cpu", "cores", "memory_gibibytes", "system", "python")  # of every environment

Figure = float | int | bool | None


@dataclass(frozen=True)
class Record:
    """One trial's outcome.

    Attributes:
        trial: what was asked for.
        status: one of ``STATUSES``.
        reason: why it is not ``ok``; None if it is.
        figures: name (of ``FIGURE_NAMES``) -> value; missing names are unknown.
        curves: JSON-able series: ``loss`` and ``gradient_norm`` (one value per step, None if it is
            not finite), ``evaluations`` (a list of ``Evaluation`` fields),
            ``gradient_flow`` (``initial`` and ``final``, each with ``lags``, ``median``, ``low``,
            ``high``, per-layer medians), ``block_seconds`` and ``block_steps``.
        details: JSON-able facts that are not figures: task facts, over-fitting gap, samples of
            text, flags, versions, effective threads, the tail of a failed worker's log, the
            checkpoint's path; ``interval``, the kind of the throughput's interval.
        environment: the environment record of the worker ({} if it never sent one).
        environment_id: a hash of the environment's stable facts.
        started_at: ISO 8601 in UTC; it tells whether launches took turns, never a duration.
        harness_version: the version of the harness.

    Raises:
        ValueError: the status is not one of ``STATUSES``, or a figure is not a column.
    """

    trial: Trial
    status: str
    reason: str | None = None
    figures: Mapping[str, Figure] = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    environment_id: str | None = None
    started_at: str | None = None
    harness_version: str | None = None

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r} is not one of {', '.join(STATUSES)}")
        unknown = sorted(set(self.figures) - set(FIGURE_NAMES))
        if unknown:
            raise ValueError(f"figures {', '.join(unknown)} are not columns of a record")

    def columns(self) -> dict[str, Any]:
        """Return one flat mapping with exactly ``COLUMNS``; no number is infinite or NaN."""
        row: dict[str, Any] = dict.fromkeys(COLUMNS)
        row |= {name: getattr(self.trial, name) for name in TRIAL}
        row |= {name: getattr(self, name) for name in ATTRIBUTES}
        row |= {name: finite(self.figures.get(name)) for name in FIGURE_NAMES}
        row |= {name: self.details.get(name) for name in DETAILS}
        row |= {name: _number_or_none(self.details.get(name)) for name in NUMBERS}
        scores, sets = self.details.get("scores"), self.details.get("evaluation_sets")
        probes = probe_figures(self.details)
        return row | {
            "launches": self.launches,
            "settings": json.dumps(other_settings(self.trial), sort_keys=True),
            "scores": json.dumps(finite(scores)) if isinstance(scores, Mapping) else None,
            "evaluation_sets": json.dumps(finite(sets)) if isinstance(sets, list) else None,
            "gradient_horizon_step": self.horizon_step(),
            "gradient_exploding": self.exploding(),
            "seconds_to_solve": self.seconds_to_solve(),
            "probes": json.dumps(finite(probes)) if probes else None,
        }

    @property
    def launches(self) -> int:
        """How many fresh processes the figures come from."""
        return int(self.details.get("launches", 1))

    def exploding(self) -> bool | None:
        """Return whether the gradient exploded; older records are judged by figures and curves."""
        answer = self.details.get("gradient_exploding")
        if isinstance(answer, bool):
            return answer
        return is_exploding(self.status, self.figures, self.curves)

    def horizon_step(self) -> int | None:
        """Return after how many training steps the horizon was measured; None: it was not."""
        measured = (self.figures.get(name) for name in ("gradient_horizon", "gradient_decay"))
        if all(value is None for value in measured):
            return None
        step = self.details.get("gradient_horizon_step")
        if isinstance(step, int):
            return step
        return self.trained_steps() if self.status == "ok" else 0  # older records do not say it

    def trained_steps(self) -> int:
        """Return how many steps training had; fewer than asked for if it lost patience."""
        stopped = self.details.get("stopped_at")
        return stopped if isinstance(stopped, int) else self.trial.steps

    def training_seconds(self) -> float | None:
        """Return the seconds of all steps, without compiling; None if it did not end well."""
        of_step = finite(self.figures.get("step_seconds_median"))
        return None if of_step is None or self.status != "ok" else self.trained_steps() * of_step

    def seconds_to_solve(self) -> float | None:
        """Return the seconds of the steps until the task was solved; None if it was not."""
        steps, seconds = finite(self.figures.get("steps_to_solve")), self.training_seconds()
        return None if steps is None or seconds is None else seconds * steps / self.trained_steps()

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values; not-finite numbers become None."""
        return {
            "trial": self.trial.content(),
            "status": self.status,
            "reason": self.reason,
            "figures": finite(dict(self.figures)),
            "curves": finite(dict(self.curves)),
            "details": finite(dict(self.details)),
            "environment": finite(dict(self.environment)),
            "environment_id": self.environment_id,
            "started_at": self.started_at,
            "harness_version": self.harness_version,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Record:
        """Return the record of ``to_json``; figures of other versions become details.

        Raises:
            KeyError: a part is missing.
            pydantic.ValidationError: its trial is not valid.
        """
        figures: dict[str, Figure] = {}
        others: dict[str, Any] = {}
        for name, value in content["figures"].items():
            (figures if name in FIGURE_NAMES else others)[name] = value
        details = {**content["details"], **({"unknown_figures": others} if others else {})}
        parts = {**content, "figures": figures, "details": details}
        return cls.read(Trial.model_validate(parts.pop("trial")), parts)

    @classmethod
    def read(cls, trial: Trial, content: Mapping[str, Any]) -> Record:
        """Return the record of a trial and these parts, without values that no reader expects."""
        return cls(trial=trial, **readable(content, FIGURES, STATUSES))


def other_settings(trial: Trial) -> dict[str, Any]:
    """Return the settings of a trial that have no column and are not the default.

    Together with the columns it is the whole trial.
    """
    settings = trial.model_dump(mode="json", exclude_defaults=True)
    return {name: value for name, value in settings.items() if name not in TRIAL}


def stable_facts(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes an environment's id: machine, GPUs, system and Python."""
    facts = {name: environment.get(name) for name in STABLE_FACTS}
    facts["cores"] = {name: n for name, n in (facts["cores"] or {}).items() if name != "available"}
    gpus = sorted(str(gpu.get("name")) for gpu in environment.get("gpus") or ())
    return facts | ({"cards": gpus} if gpus else {})


def finite(value: Any) -> Any:
    """Return ``value`` for JSON: Python's own numbers at any depth, None if they are not finite."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    number = _number(value)
    return None if isinstance(number, float) and not math.isfinite(number) else number


def _number_or_none(value: Any) -> float | int | None:
    number = finite(value)
    return number if isinstance(number, int | float) else None


def _number(value: Any) -> Any:
    """Return any kind of number as Python's own, and everything else as it is."""
    if value is None or isinstance(value, float | int | str):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value
