"""Rules under which a difference fails a build: ``throughput:5%``, ``loss_validation:0.02``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from harness.contract.errors import UnknownNameError, UsageError
from harness.contract.records.columns import FIGURES
from harness.contract.records.record import Record

ALIASES = {"throughput": "tokens_per_second"}
METRICS = (*ALIASES, *(column.name for column in FIGURES if column.better))
HIGHER_IS_BETTER = {column.name for column in FIGURES if column.better == "higher"}
RATES = {column.name for column in FIGURES if (column.unit or "").endswith("/s")}
_RULE = re.compile(r"(?P<metric>[a-z_]+):(?P<value>\d+(?:\.\d+)?)(?P<percent>%?)")


@dataclass(frozen=True)
class Rule:
    """How much worse a figure may get, ``relative`` to the base or in its own unit."""

    metric: str
    threshold: float
    relative: bool

    def __str__(self) -> str:
        value = f"{100 * self.threshold:g}%" if self.relative else f"{self.threshold:g}"
        return f"{self.metric}:{value}"

    @property
    def figure(self) -> str:
        """The name of the figure that the metric names."""
        return ALIASES.get(self.metric, self.metric)

    def checks(self, base: Record) -> bool:
        """Say whether ``base`` has the figure, so that it can get worse at all."""
        return base.figures.get(self.figure) is not None

    def broken(self, base: Record, new: Record, *, slower: bool) -> bool:
        """Say whether ``new`` is worse than allowed; a throughput must be proven ``slower``.

        A figure that ``new`` lacks (a task not solved again, a loss not finite) breaks the rule.
        """
        name = self.figure
        before, after = base.figures.get(name), new.figures.get(name)
        if before is None:
            return False
        if after is None:
            return True
        worse = float(after) - float(before)
        worse = -worse if name in HIGHER_IS_BETTER else worse
        limit = self.threshold * abs(float(before)) if self.relative else self.threshold
        proved = slower or name != "tokens_per_second"
        return proved and (worse > limit or math.isnan(worse))


def read_rule(text: str) -> Rule:
    """Return the rule ``METRIC:5%`` or ``METRIC:0.02``.

    Raises:
        UsageError: the text is not a rule, or the rule could never fail.
        UnknownNameError: no record has such a figure.
    """
    match = _RULE.fullmatch(text.strip())
    if not match:
        raise UsageError(
            f"--fail-on {text!r}: write METRIC:5%, as in throughput:5%, METRIC:0.02 or cannot-tell"
        )
    if match["metric"] not in METRICS:
        raise UnknownNameError("metric of --fail-on", match["metric"], METRICS)
    value, relative = float(match["value"]), bool(match["percent"])
    rule = Rule(match["metric"], value / 100 if relative else value, relative)
    if relative and rule.threshold >= 1 and rule.figure in HIGHER_IS_BETTER:
        raise UsageError(
            f"--fail-on {text!r} would never fail: "
            "what is better higher gets worse by less than 100%"
        )
    if not relative and value < 1 and rule.figure in RATES:
        raise UsageError(
            f"--fail-on {text!r} is {value:g} per second; "
            f"as a fraction: {rule.metric}:{100 * value:g}%"
        )
    return rule
