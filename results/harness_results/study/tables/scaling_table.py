"""The tables of one task that say how cost grows with the length, and when compiling pays."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness_results.study.break_even import BreakEven
from harness_results.study.networks import Labels
from harness_results.study.scaling import Scaling, scaling
from harness_results.study.study import Study
from harness_results.study.tables.pivot import CellText, Pivot, Row
from harness_results.study.verdicts.fit import Estimate
from harness_results.text.format import UNKNOWN, count, quantity, seconds, within
from harness_results.text.grid import Grid

COLUMNS = ("T", "per step", "per time step", "log-log")
NOTE = (
    "per step, per time step: a and b of the line seconds = a + b t by least squares, 95 % "
    "intervals · log-log: slope of log seconds over log t"
)
MEMORY = (
    "peak memory of training in bytes at each T · B/time step: its slope · log-log: slope of its "
    "logarithm over log t"
)
PAYS = (
    "pays after: training steps until start-up and steps together take less time than with the "
    "engine in brackets: of those with a longer median step the one with the shortest; never: none "
    "has a longer one · medians, no verdict"
)
Fits = Sequence[tuple[Labels, Scaling]]


def scaling_tables(study: Study) -> list[Grid | Pivot]:
    """Return the tables of a task; none if no engine has three lengths."""
    scalings = scaling(study.records)
    if not scalings:
        return []
    labels_of = {id(record): labels for labels, record in study.labelled}
    order = list(study.rows)
    fits = [(labels_of[id(fit.records[0])], fit) for fit in scalings]
    fits.sort(key=lambda fit: order.index(fit[0]))
    further = (_memory(study, fits), _compiling(study, fits))
    return [_times(study, fits), *(table for table in further if table.rows)]


def _times(study: Study, fits: Fits) -> Grid:
    return Grid(
        title=f"{study.task}: scaling in T",
        axes=study.networks.axes,
        columns=COLUMNS,
        rows=tuple((labels, _cells(fit)) for labels, fit in fits),
        notes=(NOTE,),
    )


def _cells(fit: Scaling) -> tuple[str, ...]:
    return (
        f"{fit.records[0].trial.length}-{fit.records[-1].trial.length}",
        _duration(fit.step_overhead_seconds),
        _duration(fit.time_step_seconds),
        _exponent(fit.exponent),
    )


def _exponent(exponent: Estimate | None) -> str:
    if exponent is None:
        return UNKNOWN
    return within(exponent.value, exponent.high - exponent.value)


def _duration(estimate: Estimate) -> str:
    """Return ``1.20 ±0.31 ms``, in the unit that suits the larger of the value and its interval."""
    half = estimate.high - estimate.value
    # rounded first: a value just below a unit is shown as one
    largest = float(f"{max(abs(estimate.value), half):.3g}")
    units = ((1.0, "s"), (1e-3, "ms"))
    size, unit = next(((size, unit) for size, unit in units if largest >= size), (1e-6, "us"))
    return f"{within(estimate.value / size, half / size)} {unit}"


def _memory(study: Study, fits: Fits) -> Grid:
    rows = [(labels, fit) for labels, fit in fits if fit.memory_bytes]
    lengths = sorted({length for _, fit in rows for length in fit.memory_bytes})
    return Grid(
        title=f"{study.task}: memory against T",
        axes=study.networks.axes,
        columns=(*(f"T={length}" for length in lengths), "B/time step", "log-log"),
        rows=tuple((labels, _peaks(fit, lengths)) for labels, fit in rows),
        notes=(MEMORY,),
    )


def _peaks(fit: Scaling, lengths: Sequence[int]) -> tuple[str, ...]:
    slope = fit.memory_bytes_per_time_step
    return (
        *(quantity(fit.memory_bytes.get(length)) for length in lengths),
        UNKNOWN if slope is None else quantity(slope.value),
        _exponent(fit.memory_exponent),
    )


def _compiling(study: Study, fits: Fits) -> Pivot:
    rows = [Row(labels, entries) for labels, fit in fits if (entries := _costs(fit))]
    return Pivot(
        task=f"{study.task}: compiling",
        settings="at the shortest and the longest T",
        axes=study.networks.axes,
        lengths=tuple(sorted({length for row in rows for length in row.entries})),
        rows=tuple(rows),
        notes=(PAYS,),
        measures=("compiling", "pays after"),
        minor=True,
    )


def _costs(fit: Scaling) -> dict[int, tuple[CellText, ...]]:
    """Return the seconds of compiling and when they are paid for, at both ends; {} if unknown."""
    pays = {event.length: _pays(event) for event in fit.break_even}
    ends = (fit.records[0].trial.length, fit.records[-1].trial.length)
    return {
        length: (CellText(seconds(cost)), CellText(pays.get(length, UNKNOWN)))
        for length, cost in zip(ends, fit.compile_seconds, strict=True)
        if cost is not None
    }


def _pays(event: BreakEven) -> str:
    if math.isinf(event.steps):
        return "never"
    return f"{count(math.ceil(event.steps))} ({event.against})"
