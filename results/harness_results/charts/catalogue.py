"""Every chart by name: what it shows, how that was measured, its rows and its drawing. Imports altair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import altair as alt

from harness.contract.records.record import Record
from harness_results.charts.data import Rows
from harness_results.charts.flow import draw_gradient_flow, gradient_flow
from harness_results.charts.gradients import draw_horizon, draw_norm, horizon, norm
from harness_results.charts.learning import draw_loss, draw_loss_curves, loss, loss_curves
from harness_results.charts.proof import draw_memory, draw_parity, memory, parity
from harness_results.charts.speed import (
    compiling,
    draw_compiling,
    draw_step_time,
    draw_throughput,
    step_time,
    throughput,
)
from harness_results.study.findings import HORIZON
from harness_results.study.tables.notes import KINDS
from harness_results.study.verdicts.statistics import FEWEST


@dataclass(frozen=True)
class Chart:
    """One chart of a report.

    Attributes:
        name: what ``--chart`` takes.
        title: its heading.
        shows: what it shows, in a sentence or two.
        measured: how it was measured.
        key: what its marks are, for below the title; "" where the legend says it.
        needs: what a record must have to be in it; "no trial has ..." is why a chart is empty.
        rows: the rows that these records give; none where no record has what it needs.
        draw: the specification of such rows, one dataset named ``rows``, without title and theme.
    """

    name: str
    title: str
    shows: str
    measured: str
    key: str
    needs: str
    rows: Callable[[Sequence[Record]], Rows]
    draw: Callable[[Rows], alt.FacetChart]


_ALL = (
    Chart(
        name="loss",
        title="Validation loss against T",
        shows="The validation loss by cell; filled points are solved, hollow ones are not. Baseline: the best "
        "predictor that learns nothing; floor: the best possible one. A cell on the baseline has learnt nothing, "
        "however small the number.",
        measured="Mean loss in nats (squared error for adding) on held-out data after training, dropout off. Engines "
        "of one cell start alike on the same batches, and their lines cover each other.",
        key="filled: solved · hollow: not solved · dashed: baseline · dotted: floor",
        needs="ended ok with a validation loss",
        rows=loss,
        draw=draw_loss,
    ),
    Chart(
        name="loss-curves",
        title="Loss over training",
        shows="The training loss by cell (lines), and the validation loss where it was taken (points).",
        measured="Loss of every training step; where there are more steps than points, the mean of each stretch. "
        "Diverged and interrupted trials show what they reached.",
        key="line: training · points: validation · dashed: baseline",
        needs="has a loss curve",
        rows=loss_curves,
        draw=draw_loss_curves,
    ),
    Chart(
        name="throughput",
        title="Throughput against T",
        shows="Tokens per second of training by engine, with intervals, and two limits of this machine: the chain of "
        "products that a recurrence cannot avoid (serial limit), and all products at the rate of large ones.",
        measured="Median of timed blocks of training steps, compiling and warm-up left out, with its 95 % interval; of "
        f"several launches their median, with its {KINDS['launches-bootstrap-bca']}, or {KINDS['launches-range']} "
        f"where they are fewer than {FEWEST}.",
        key="dashed: serial limit · dotted: all products at the rate of large ones",
        needs="ended ok with a throughput",
        rows=throughput,
        draw=draw_throughput,
    ),
    Chart(
        name="step-time",
        title="Seconds per training step against T",
        shows="The time of a training step by engine (points), and the line a + b t through it: a is paid whatever "
        "the length, b for each time step. Both axes are logarithmic: the line bends where a matters.",
        measured="Median over timed blocks. The fit is by least squares on relative errors over the time steps that "
        "the network really runs t (copy: T + 2K), from three lengths on; its intervals are in the scaling table.",
        key="points: measured · line: a + b t",
        needs="ended ok with a step time",
        rows=step_time,
        draw=draw_step_time,
    ),
    Chart(
        name="compiling",
        title="Compiling, and when it has paid",
        shows="What compiling costs by engine, and the training steps after which the engine has overtaken, of "
        "those with a longer median step, the one with the shortest.",
        measured="Seconds of compiling apart from the first step and the steady ones. Paid: start-up less the "
        "rival's, over what a step saves; never where no engine of the same network has a longer median step.",
        key="",
        needs="ended ok with an engine that compiles",
        rows=compiling,
        draw=draw_compiling,
    ),
    Chart(
        name="gradient-flow",
        title="Gradient flow",
        shows="How much of the loss at the last scored position reaches each earlier state, by cell, as a fraction "
        f"of its value at lag 0. Once a line is below {HORIZON}, that position gives hardly any signal to what lies "
        "further back.",
        measured="Norm of the total derivative of the loss at the last scored position with respect to the whole state "
        "(h, and c of an lstm), over all layers: median and quartiles over a batch, before and after training. Theory: "
        "the spectral radius of the initial recurrent weights (rnn), the memory gate at its initial mean (lstm, gru).",
        key=f"median and quartiles over a batch · thin: by one state · dashed: {HORIZON}, the horizon · dotted: theory",
        needs="has a gradient flow",
        rows=gradient_flow,
        draw=draw_gradient_flow,
    ),
    Chart(
        name="gradient-horizon",
        title="Gradient horizon against T",
        shows="How many time steps back the gradient reaches after training, by cell; hollow is one that never fell "
        f"to {HORIZON}, so that its horizon is beyond. Below T/2 it counts as vanishing; ↑ explodes.",
        measured=f"The lag at which the median gradient flow falls below {HORIZON} of its value at lag 0.",
        key=f"filled: fell to {HORIZON} · hollow: did not, it is beyond · dashed: T/2, vanishing below it · dotted: T",
        needs="ended ok with a gradient horizon",
        rows=horizon,
        draw=draw_horizon,
    ),
    Chart(
        name="gradient-norm",
        title="Gradient norm over training",
        shows="The norm of the whole gradient before clipping, by cell, with a band from the smallest to the largest.",
        measured="Global L2 norm over all parameters at every step; where there are more steps than points, the "
        "median, smallest and largest of each stretch.",
        key="median, smallest and largest · dashed: clip_norm",
        needs="has a curve of gradient norms",
        rows=norm,
        draw=draw_norm,
    ),
    Chart(
        name="memory",
        title="Peak memory against T",
        shows="The most memory that training took, by engine. A slope of one keeps every state; checkpointed BPTT "
        "rises less.",
        measured="Peak of a fresh process during training less its size after imports; of the device where it has "
        "memory of its own.",
        key="",
        needs="ended ok with a known peak memory",
        rows=memory,
        draw=draw_memory,
    ),
    Chart(
        name="parity",
        title="Parity error against T",
        shows="How far loss and gradients are from the reference, by engine (points), and what rounding explains at "
        "most (ticks). No speed is published of a trial above its tick.",
        measured="The largest relative difference over loss and all gradient tensors from the NumPy float64 reference, "
        "at this very cell, size and T. The tolerance is ten times what rounding does to the reference itself.",
        key="points: error · ticks: tolerance",
        needs="was held against the reference",
        rows=parity,
        draw=draw_parity,
    ),
)
CHARTS = {chart.name: chart for chart in _ALL}
