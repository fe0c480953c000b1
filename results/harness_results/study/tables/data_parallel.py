"""Data-parallel trials beside those on one device: how much faster so many devices are. Nothing is run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.contract.records.record import Record
from harness_results.study.networks import networks
from harness_results.text.format import UNKNOWN, number, quantity, seconds
from harness_results.text.grid import Grid

COLUMNS = ("tokens/s", "x one device", "efficiency", "ranks: min", "median", "max", "loss - one's")
NOTE = (
    "efficiency: tokens/s / (devices * tokens/s of the same trial on one device) · ranks: each one's seconds per step, "
    "waiting for the others included · loss: final training loss less that of one device"
)


@dataclass(frozen=True)
class Scaled:
    """A trial on several devices, and the same on one, where that was measured in the same environment."""

    record: Record
    alone: Record | None

    @property
    def speedup(self) -> float | None:
        """Throughput as a multiple of one device's."""
        several, one = (
            self._figure(self.record, "tokens_per_second"),
            self._figure(self.alone, "tokens_per_second"),
        )
        return several / one if several is not None and one else None

    @property
    def efficiency(self) -> float | None:
        """The speedup per device."""
        return None if self.speedup is None else self.speedup / self.record.trial.devices

    @property
    def loss_difference(self) -> float | None:
        """The final training loss less that of one device."""
        several, one = (
            self._figure(self.record, "loss_final"),
            self._figure(self.alone, "loss_final"),
        )
        return None if several is None or one is None else several - one

    @staticmethod
    def _figure(record: Record | None, name: str) -> float | None:
        value = None if record is None else record.figures.get(name)
        return None if value is None else float(value)


def scaled(records: Sequence[Record]) -> list[Scaled]:
    """Return one for each trial on several devices that ended well."""
    ended = [record for record in records if record.status == "ok"]
    alone = {_without_devices(record): record for record in ended if record.trial.devices == 1}
    return [
        Scaled(record, alone.get(_without_devices(record)))
        for record in ended
        if record.trial.devices > 1
    ]


def data_parallel_table(records: Sequence[Record]) -> Grid | None:
    """Return the table of the records of one task; None where no trial ran on several devices."""
    found = {id(one.record): one for one in scaled(records)}
    if not found:
        return None
    named = networks(records)
    axes = (*named.axes, "T") if "devices" in named.axes else (*named.axes, "T", "devices")
    rows = []
    for record, labels in zip(records, named.labels, strict=True):
        if id(record) in found:
            trial = record.trial
            place = (
                (str(trial.length),)
                if "devices" in named.axes
                else (str(trial.length), str(trial.devices))
            )
            rows.append(((*labels, *place), _cells(found[id(record)])))
    title = f"{records[0].trial.task}: data parallel"
    return Grid(title=title, axes=axes, columns=COLUMNS, rows=tuple(rows), notes=(NOTE,))


def _without_devices(record: Record) -> str:
    content = {name: value for name, value in record.trial.content().items() if name != "devices"}
    return json.dumps([content, record.environment_id], sort_keys=True)


def _cells(one: Scaled) -> tuple[str, ...]:
    speed, difference = one.record.figures.get("tokens_per_second"), one.loss_difference
    spread: Mapping[str, Any] = one.record.details.get("rank_step_seconds_spread") or {}
    efficiency = None if one.efficiency is None else 100 * one.efficiency
    return (
        quantity(speed),
        number(one.speedup),
        UNKNOWN if efficiency is None else f"{number(efficiency)} %",
        *(seconds(spread.get(name)) for name in ("min", "median", "max")),
        UNKNOWN if difference is None else f"{difference:.1e}",
    )
