"""An entry: a published set-up as a plan, the published figures, and what makes them comparable."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.contract.errors import UsageError

DEVIATIONS = 2.0  # half the width of a band, in standard deviations over seeds
Statistic = Literal["loss", "best_loss", "first_below", "smoothed_loss", "accuracy", "solved"]


class Figure(BaseModel):
    """One published figure.

    Attributes:
        name: what it is, in a few words.
        statistic: how it is taken from a record: see ``harness_results.published.statistics``.
        step: of ``loss`` and ``smoothed_loss``; None: the last.
        evaluations: of ``loss``: how many are averaged, the last of them at ``step``.
        below: of ``first_below``.
        length: of ``accuracy`` and ``solved``; None: the trained one.
        scale: the statistic is multiplied by it, if the source has another unit.
        of: fields of a trial -> value: the trials that it is about; empty: all of the plan.
        minus: fields of a trial -> value: the figure is then a difference between two trials of
            equal seeds.
        published: the figure in the source; None if the source only states an inequality.
        says: what the source says, in words, if it has no figure.
        digit: the last digit of ``published``: 0.001 of 0.171.
        deviation: the standard deviation of the measured statistic over ``calibrated`` seeds.
        calibrated: how many seeds.
        least: of a figure without a band around ``published``: the smallest that agrees.
        most: the largest that agrees.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1)
    statistic: Statistic
    step: int | None = Field(default=None, ge=1)
    evaluations: int = Field(default=1, ge=1)
    below: float | None = None
    length: int | None = Field(default=None, ge=1)
    scale: float = Field(default=1.0, gt=0)
    of: dict[str, Any] = {}
    minus: dict[str, Any] = {}
    published: float | None = None
    says: str = ""
    digit: float | None = Field(default=None, gt=0)
    deviation: float | None = Field(default=None, ge=0)
    calibrated: int | None = Field(default=None, ge=2)
    least: float | None = None
    most: float | None = None

    @model_validator(mode="after")
    def _has_one_band(self) -> Self:
        around = (self.published, self.digit, self.deviation, self.calibrated)
        bounds = (self.least, self.most)
        if any(value is not None for value in bounds):
            if any(value is not None for value in around[1:]):
                raise ValueError("least and most exclude digit, deviation and calibrated")
            if self.published is None and not self.says:
                raise ValueError("write what the source says: published or says")
        elif any(value is None for value in around):
            raise ValueError(
                "a band needs published, digit, deviation and calibrated; an inequality needs "
                "least or most"
            )
        if (self.statistic == "first_below") != (self.below is not None):
            raise ValueError("below belongs to first_below, which needs it")
        return self

    @property
    def band(self) -> tuple[float, float]:
        """The smallest and the largest value that agree with the source; may be infinite."""
        if self.published is None or self.deviation is None or self.digit is None:
            least = -math.inf if self.least is None else self.least
            return least, math.inf if self.most is None else self.most
        half = max(self.digit, DEVIATIONS * self.deviation)
        return self.published - half, self.published + half


class Entry(BaseModel):
    """A published result.

    Attributes:
        name: what the user types.
        source: citation, repository or file; who ran it, and how many seeds.
        kind: ``exact`` if nothing deviates; ``near``; ``qualitative``: inequalities;
            ``not_expressible``: nothing runs.
        reason: why it is not expressible.
        deviations: in words.
        minutes: of one seed of the plan, on one core.
        needs: what the user needs besides the harness, such as a text.
        plan: tables of an ordinary plan.
        figures: what the source reports.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str = Field(min_length=1)
    kind: Literal["exact", "near", "qualitative", "not_expressible"]
    reason: str = ""
    deviations: tuple[str, ...] = ()
    minutes: float | None = Field(default=None, gt=0)
    needs: str = ""
    plan: dict[str, Any] = {}
    figures: tuple[Figure, ...] = Field(default=(), alias="figure")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.kind == "not_expressible":
            if not self.reason or self.plan or self.figures:
                raise ValueError("not_expressible needs a reason, and neither plan nor figure")
            return self
        if self.reason or not self.plan or not self.figures or self.minutes is None:
            raise ValueError("it needs plan, figure and minutes, and no reason")
        matrix = self.plan.get("matrix", {})
        is_table = isinstance(matrix, Mapping)
        if not (is_table and isinstance(matrix.get("seeds", 1), int)):
            raise ValueError("plan.matrix is a table, and its seeds are one whole number")
        if (self.kind == "exact") == bool(self.deviations):
            raise ValueError("exact has no deviations; every other kind names its own")
        if self.kind == "qualitative" and any(each.digit for each in self.figures):
            raise ValueError("a qualitative entry has inequalities: least or most")
        return self

    @property
    def seeds(self) -> int:
        """How many seeds its plan has."""
        seeds: int = self.plan.get("matrix", {}).get("seeds", 1)
        return seeds


def read_entry(name: str, path: Path) -> Entry:
    """Return the entry in a TOML file.

    Raises:
        UsageError: the file cannot be read, or is not an entry.
    """
    try:
        content: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        return Entry.model_validate({**content, "name": name})
    except OSError as error:
        raise UsageError(f"cannot read the published result {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key, problem = (
            ".".join(map(str, first["loc"])),
            first["msg"].removeprefix("Value error, "),
        )
        where = f"{path}: {key}" if key else str(path)
        raise UsageError(f"{where}: {problem}; see docs/reproducing.md") from error
    except ValueError as error:
        raise UsageError(f"the published result {path} is not valid TOML: {error}") from error
