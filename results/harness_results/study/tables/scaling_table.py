"""The scaling and the compiling table of one task, from the fits."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.contract.records.record import Record
from harness_results.study.break_even import BreakEven
from harness_results.study.networks import Networks, in_order, networks
from harness_results.study.scaling import Scaling, scaling
from harness_results.study.tables.pivot import CellText, Pivot, Row
from harness_results.study.verdicts.fit import Estimate
from harness_results.text.format import UNKNOWN, count, quantity, seconds, within
from harness_results.text.grid import Grid

COLUMNS = ("T", "per step", "per time step", "log-log")
NOTE = (
    "per step, per time step: a and b of the line seconds = a + b t by least squares, 95 % intervals · "
    "log-log: slope of log seconds over log t"
)
MEMORY = "peak memory of training in bytes at each T · B/time step: its slope · log-log: slope of its logarithm over log t"
PAYS = (
    "pays after: training steps until start-up and steps together take less time than with the engine in brackets: of "
    "those with a longer median step the one with the shortest; never: none has a longer one · medians, no verdict"
)


def scaling_tables(records: Sequence[Record]) -> list[Grid | Pivot]:
    """Return the tables of the records of one task; none where no engine has three lengths."""
    found = scaling(records)
    if not found:
        return []
    asked = networks(records)
    by_record = {id(record): label for record, label in zip(records, asked.labels, strict=True)}
    order = in_order(asked.labels)
    labelled = sorted(
        ((by_record[id(one.records[0])], one) for one in found),
        key=lambda pair: order.index(pair[0]),
    )
    task = records[0].trial.task
    further = (_memory(task, asked, labelled), _compiling(task, asked, labelled))
    return [_fits(task, asked, labelled), *(table for table in further if table.rows)]


def _fits(task: str, asked: Networks, labelled: Sequence[tuple[tuple[str, ...], Scaling]]) -> Grid:
    return Grid(
        title=f"{task}: scaling in T",
        axes=asked.axes,
        columns=COLUMNS,
        rows=tuple((labels, _cells(one)) for labels, one in labelled),
        notes=(NOTE,),
    )


def _memory(
    task: str, asked: Networks, labelled: Sequence[tuple[tuple[str, ...], Scaling]]
) -> Grid:
    known = [(labels, one) for labels, one in labelled if one.memory_bytes]
    lengths = sorted({length for _, one in known for length in one.memory_bytes})
    return Grid(
        title=f"{task}: memory against T",
        axes=asked.axes,
        columns=(*(f"T={length}" for length in lengths), "B/time step", "log-log"),
        rows=tuple((labels, _peaks(one, lengths)) for labels, one in known),
        notes=(MEMORY,),
    )


def _peaks(one: Scaling, lengths: Sequence[int]) -> tuple[str, ...]:
    slope, exponent = one.memory_bytes_per_time_step, one.memory_exponent
    return (
        *(quantity(one.memory_bytes.get(length)) for length in lengths),
        UNKNOWN if slope is None else quantity(slope.value),
        UNKNOWN if exponent is None else within(exponent.value, exponent.high - exponent.value),
    )


def _compiling(
    task: str, asked: Networks, labelled: Sequence[tuple[tuple[str, ...], Scaling]]
) -> Pivot:
    rows = [Row(labels, entries) for labels, one in labelled if (entries := _costs(one))]
    return Pivot(
        task=f"{task}: compiling",
        settings="at the shortest and the longest T",
        axes=asked.axes,
        lengths=tuple(sorted({length for row in rows for length in row.entries})),
        rows=tuple(rows),
        notes=(PAYS,),
        measures=("compiling", "pays after"),
        minor=True,
    )


def _cells(one: Scaling) -> tuple[str, ...]:
    return (
        f"{one.records[0].trial.length}-{one.records[-1].trial.length}",
        _duration(one.step_overhead_seconds),
        _duration(one.time_step_seconds),
        within(one.exponent.value, one.exponent.high - one.exponent.value),
    )


def _duration(estimate: Estimate) -> str:
    """Return ``1.20 ±0.31 ms``, in the unit that suits the larger of the value and its interval."""
    half = estimate.high - estimate.value
    largest = float(
        f"{max(abs(estimate.value), half):.3g}"
    )  # a value just below a unit is shown as one
    size, unit = next(
        ((size, unit) for size, unit in ((1.0, "s"), (1e-3, "ms")) if largest >= size), (1e-6, "us")
    )
    return f"{within(estimate.value / size, half / size)} {unit}"


def _costs(one: Scaling) -> dict[int, tuple[CellText, ...]]:
    """Return, at both ends, the seconds of compiling and when they are paid for; {} where there are none."""
    pays = {found.length: _pays(found) for found in one.break_even}
    ends = zip(
        (one.records[0].trial.length, one.records[-1].trial.length),
        one.compile_seconds,
        strict=True,
    )
    return {
        length: (CellText(seconds(cost)), CellText(pays.get(length, UNKNOWN)))
        for length, cost in ends
        if cost is not None
    }


def _pays(found: BreakEven) -> str:
    return (
        "never" if math.isinf(found.steps) else f"{count(math.ceil(found.steps))} ({found.against})"
    )
