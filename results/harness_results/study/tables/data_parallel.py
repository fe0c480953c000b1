"""Data-parallel trials against the same trial on one device: how much faster, how efficient."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract.records.record import Record
from harness_results.study.study import Study
from harness_results.text.format import UNKNOWN, number, quantity, seconds
from harness_results.text.grid import Grid

COLUMNS = ("tokens/s", "x one device", "efficiency", "ranks: min", "median", "max", "loss - one's")
NOTE = (
    "efficiency: tokens/s / (devices * tokens/s of the same trial on one device) · ranks: each "
    "one's seconds per step, waiting for the others included · loss: final training loss less that "
    "of one device"
)


@dataclass(frozen=True)
class Scaled:
    """A trial on several devices, and the same on one, if that was measured on the same machine."""

    record: Record
    alone: Record | None

    @property
    def speedup(self) -> float | None:
        """Throughput as a multiple of one device's."""
        several, single = self._figures("tokens_per_second")
        return several / single if several is not None and single else None

    @property
    def efficiency(self) -> float | None:
        """The speedup per device."""
        return None if self.speedup is None else self.speedup / self.record.trial.devices

    @property
    def loss_difference(self) -> float | None:
        """The final training loss less that of one device."""
        several, single = self._figures("loss_final")
        return None if several is None or single is None else several - single

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        difference = self.loss_difference
        spread: Mapping[str, Any] = self.record.details.get("rank_step_seconds_spread") or {}
        percent = None if self.efficiency is None else f"{number(100 * self.efficiency)} %"
        return (
            quantity(self.record.figures.get("tokens_per_second")),
            number(self.speedup),
            percent or UNKNOWN,
            *(seconds(spread.get(name)) for name in ("min", "median", "max")),
            UNKNOWN if difference is None else f"{difference:.1e}",
        )

    def _figures(self, name: str) -> tuple[float | None, float | None]:
        """Return a figure on several devices and on one."""
        several = self.record.figures.get(name)
        return several, None if self.alone is None else self.alone.figures.get(name)


def scaled(records: Sequence[Record]) -> list[Scaled]:
    """Return one for each trial on several devices that ended well."""
    ended = [record for record in records if record.status == "ok"]
    alone = {_without_devices(record): record for record in ended if record.trial.devices == 1}
    several = [record for record in ended if record.trial.devices > 1]
    return [Scaled(record, alone.get(_without_devices(record))) for record in several]


def data_parallel_table(study: Study) -> Grid | None:
    """Return the table of a task; None if no trial ran on several devices."""
    by_record = {id(trial.record): trial for trial in scaled(study.records)}
    if not by_record:
        return None
    axes = study.networks.axes
    further = ["T"] if "devices" in axes else ["T", "devices"]
    rows = []
    for labels, record in study.labelled:
        if id(record) in by_record:
            numbers = (str(record.trial.length), str(record.trial.devices))[: len(further)]
            rows.append(((*labels, *numbers), by_record[id(record)].cells))
    title = f"{study.task}: data parallel"
    return Grid(title, (*axes, *further), COLUMNS, tuple(rows), (NOTE,))


def _without_devices(record: Record) -> str:
    content = {name: value for name, value in record.trial.content().items() if name != "devices"}
    return json.dumps([content, record.environment_id], sort_keys=True)
