"""Every chart by name: what it shows, how that was measured, its rows and its drawing. Imports altair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import altair as alt

from harness.contract.record import Record
from harness_results.charts.data import Rows
from harness_results.charts.flow import draw_gradient_flow, gradient_flow
from harness_results.charts.speed import draw_throughput, throughput


@dataclass(frozen=True)
class Chart:
    """One chart of a report.

    Attributes:
        name: what ``--chart`` takes.
        title: its heading.
        shows: what it shows, in a sentence or two.
        measured: how it was measured.
        needs: what a record must have to be in it; "no trial has ..." is why a chart is empty.
        rows: the rows that these records give; none where no record has what it needs.
        draw: the specification of such rows, one dataset named ``rows``, without title and theme.
    """

    name: str
    title: str
    shows: str
    measured: str
    needs: str
    rows: Callable[[Sequence[Record]], Rows]
    draw: Callable[[Rows], alt.FacetChart]


_ALL = (
    Chart(
        name="throughput",
        title="Throughput against T",
        shows="Tokens per second of training by engine, with intervals, and two limits of this machine: the chain of "
        "products that a recurrence cannot avoid (serial limit), and all products at the rate of large ones.",
        measured="Median of timed blocks of training steps, compiling and warm-up left out, with its 95 % interval; "
        "over fresh processes where there are several launches.",
        needs="ended ok with a throughput",
        rows=throughput,
        draw=draw_throughput,
    ),
    Chart(
        name="gradient-flow",
        title="Gradient flow",
        shows="How much of the loss at the last scored position reaches each earlier hidden state, by cell, as a "
        "fraction of its value at lag 0: where a line falls below 1 %, what happened earlier cannot be learnt.",
        measured="Norm of the total derivative of the loss at the last scored position with respect to h_t, over all "
        "layers: median and quartiles over a batch, before and after training. Theory: the spectral radius of the "
        "initial recurrent weights (rnn), the memory gate at its initial mean (lstm, gru).",
        needs="has a gradient flow",
        rows=gradient_flow,
        draw=draw_gradient_flow,
    ),
)
CHARTS = {chart.name: chart for chart in _ALL}
