"""Every chart by name: what it shows, how that was measured, its rows and its drawing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import altair as alt

from harness_results.charts.bands import has_bands
from harness_results.charts.data import Rows
from harness_results.charts.flow import draw_gradient_flow, gradient_flow
from harness_results.charts.gradients import draw_horizon, draw_norm, horizon, norm
from harness_results.charts.ladder import draw_ladder, ladder
from harness_results.charts.learning import draw_loss, draw_loss_curves, loss, loss_curves
from harness_results.charts.lengths import (
    draw_lengths,
    draw_lengths_curves,
    lengths,
    lengths_curves,
)
from harness_results.charts.probes.memories import draw_memories, memories
from harness_results.charts.probes.training import draw_over_training, over_training
from harness_results.charts.proof import draw_memory, draw_parity, memory, parity
from harness_results.charts.series import Labelled
from harness_results.charts.speed import (
    compiling,
    draw_compiling,
    draw_step_time,
    draw_throughput,
    step_time,
    throughput,
)
from harness_results.study.findings import HORIZON, UNNAMED
from harness_results.study.seeds.ladder import FEWEST_SEEDS
from harness_results.study.seeds.statistics import MOST_IN_RANGE
from harness_results.study.tables.notes import KINDS
from harness_results.study.tables.pivot import SOLVED
from harness_results.study.verdicts.statistics import FEWEST


@dataclass(frozen=True)
class Chart:
    """One chart of a report.

    Attributes:
        name: what ``--chart`` takes.
        title: its heading.
        shows: what it shows, in a sentence or two.
        measured: how it was measured.
        key: what its marks mean, for the line below the title; "" if the legend says it.
        needs: what a record needs to be drawn, after the words "no trial ...".
        rows: the rows of records with their labels; empty if no record has what it needs.
        draw: the specification of such rows: one dataset named ``rows``, no title and no theme.
        key_over_seeds: the key of rows of several seeds; "": the same.
    """

    name: str
    title: str
    shows: str
    measured: str
    key: str
    needs: str
    rows: Callable[[Sequence[Labelled]], Rows]
    draw: Callable[[Rows], alt.FacetChart]
    key_over_seeds: str = ""

    def key_of(self, rows: Rows) -> str:
        """Return the key, with the name of the baseline if these rows have one."""
        key = self.key_over_seeds if self.key_over_seeds and has_bands(rows) else self.key
        return key.replace(UNNAMED, rows.baseline)


MEDIAN = f"median over seeds · band: range of up to {MOST_IN_RANGE} seeds, else quartiles"
_ALL = (
    Chart(
        name="loss",
        title="Validation loss against T",
        shows="The validation loss by cell. Filled points are solved, hollow ones are not. "
        "Baseline: the best predictor that learns nothing. Floor: the best possible predictor. A "
        "cell on the baseline has learnt nothing, however small its loss is.",
        measured="Mean loss in nats (squared error for adding) on held-out data after training, "
        "without dropout. All engines of a cell start from the same weights and use the same "
        "batches, so their lines cover each other.",
        key="filled: solved · hollow: not solved · dashed: baseline · dotted: floor",
        needs="ended ok with a validation loss",
        rows=loss,
        draw=draw_loss,
        key_over_seeds=f"{MEDIAN} · filled: all solved · dashed: baseline · dotted: floor",
    ),
    Chart(
        name="loss-curves",
        title="Loss over training",
        shows="The training loss by cell (lines), and the validation loss at each validation "
        "(points), always on the same batches.",
        measured="Loss of every training step. If there are more steps than points, each point is "
        "the mean of several neighbouring steps. Diverged and interrupted trials are drawn as far "
        "as they got.",
        key="line: training · points: validation · dashed: baseline",
        needs="has a loss curve",
        rows=loss_curves,
        draw=draw_loss_curves,
        key_over_seeds=f"{MEDIAN} · line: training · points: validation · dashed: baseline",
    ),
    Chart(
        name="lengths",
        title="Trained at T, evaluated at other lengths",
        shows="The accuracy at lengths that the network was not trained at, by cell. The length of "
        "a panel is the trained one; lengths up to it are shaded. A line that stays up has learnt "
        "a rule and not a length.",
        measured="Accuracy on held-out data of each length after training, or the loss as a "
        "multiple of the baseline's on the same batches if the task has no accuracy. At the "
        "trained length: on the validation data.",
        key="filled: solved · hollow: not solved · shaded: up to the trained length",
        needs="ended ok and was judged at other lengths (--evaluate-at)",
        rows=lengths,
        draw=draw_lengths,
        key_over_seeds=f"{MEDIAN} · filled: all solved · shaded: up to the trained length",
    ),
    Chart(
        name="lengths-curves",
        title="Other lengths over training",
        shows="The accuracy at lengths that the network is not trained at, while it learns, by "
        "cell. The first length of a panel is the trained one.",
        measured="Accuracy at each evaluation, always on the same held-out batches of that length, "
        "or the loss as a multiple of the baseline's if the task has no accuracy.",
        key="points: evaluations",
        needs="was judged at other lengths while it trained (--follow-lengths)",
        rows=lengths_curves,
        draw=draw_lengths_curves,
        key_over_seeds=f"{MEDIAN} · points: evaluations",
    ),
    Chart(
        name="ladder",
        title="Ladder: solved at every length",
        shows="Which tasks each network solves at every length at which it was judged: how many "
        "of its seeds do. A column is a rung: a task with its options.",
        measured="By the criterion of the task, on held-out data of each length after training. A "
        f"rung is climbed if four of five seeds solve it, and there are {FEWEST_SEEDS} or more.",
        key=f"solved / seeds · the darker, the more · {SOLVED} climbed",
        needs="was judged at other lengths (--evaluate-at) on one of several tasks",
        rows=ladder,
        draw=draw_ladder,
    ),
    Chart(
        name="throughput",
        title="Throughput against T",
        shows="Training tokens per second by engine, with intervals, and two limits of this "
        "machine. Serial limit: the chain of products that a recurrence cannot avoid. The other "
        "limit: all products at the rate of large products.",
        measured="Median over timed blocks of training steps, without compiling and warm-up, with "
        "its 95 % interval. For several launches: the median over launches, with its "
        f"{KINDS['launches-bootstrap-bca']}, or {KINDS['launches-range']} if there are fewer than "
        f"{FEWEST}.",
        key="dashed: serial limit · dotted: all products at the rate of large ones",
        needs="ended ok with a throughput",
        rows=throughput,
        draw=draw_throughput,
    ),
    Chart(
        name="step-time",
        title="Seconds per training step against T",
        shows="The time of a training step by engine (points), and the fitted line a + b t. The "
        "cost a does not depend on the length; b is the cost of one time step. Both axes are "
        "logarithmic, so the line bends if a matters.",
        measured="Median over timed blocks. The fit minimises squared relative errors over t, the "
        "time steps that the network really runs (copy: T + 2K). It needs three lengths or more. "
        "Its intervals are in the scaling table.",
        key="points: measured · line: a + b t",
        needs="ended ok with a step time",
        rows=step_time,
        draw=draw_step_time,
    ),
    Chart(
        name="compiling",
        title="Compiling, and when it has paid",
        shows="What compiling costs by engine, and the training steps after which it has paid. The "
        "rival is the next slower engine: of those with a longer median step, the one with the "
        "shortest.",
        measured="Seconds of compiling, without the first step and the steady steps. Paid: the "
        "start-up of the engine less that of the rival, divided by the seconds that each step "
        "saves. Never: no engine of the same network has a longer median step.",
        key="",
        needs="ended ok with an engine that compiles",
        rows=compiling,
        draw=draw_compiling,
    ),
    Chart(
        name="gradient-flow",
        title="Gradient flow",
        shows="How much of the loss at the last scored position reaches each earlier state, by "
        f"cell, as a fraction of its value at lag 0. Below {HORIZON}, that position gives hardly "
        "any signal to earlier states.",
        measured="Norm of the total derivative of the loss at the last scored position with "
        "respect to the whole state (h, and c of an lstm), over all layers: median and quartiles "
        "over a batch, before and after training. Theory: the spectral radius of the initial "
        "recurrent weights (rnn), or the memory gate at its initial mean (lstm, gru).",
        key="median and quartiles over a batch · thin: by one state · "
        f"dashed: {HORIZON}, the horizon · dotted: theory",
        needs="has a gradient flow",
        rows=gradient_flow,
        draw=draw_gradient_flow,
        key_over_seeds=f"{MEDIAN} · thin: by one state · dashed: {HORIZON}, the horizon · "
        "dotted: theory",
    ),
    Chart(
        name="gradient-horizon",
        title="Gradient horizon against T",
        shows="How many time steps the gradient reaches back after training, by cell. A hollow "
        f"point never fell below {HORIZON}: its horizon is further back. Below T/2 the gradient "
        "counts as vanishing. ↑ means that it explodes.",
        measured=f"The lag at which the median gradient flow falls below {HORIZON} of its value at "
        "lag 0.",
        key=f"filled: fell below {HORIZON} · hollow: did not, it is beyond · "
        "dashed: T/2, vanishing below it · dotted: T",
        needs="ended ok with a gradient horizon",
        rows=horizon,
        draw=draw_horizon,
        key_over_seeds=f"{MEDIAN} · filled: fell below {HORIZON} · hollow: did not · dashed: T/2, "
        "vanishing below it · dotted: T",
    ),
    Chart(
        name="gradient-norm",
        title="Gradient norm over training",
        shows="The norm of the whole gradient before clipping, by cell, with a band from the "
        "smallest to the largest.",
        measured="L2 norm over all parameters at every step. If there are more steps than points, "
        "each point is the median of several neighbouring steps, with the smallest and largest.",
        key="median, smallest and largest · dashed: clip_norm",
        needs="has a curve of gradient norms",
        rows=norm,
        draw=draw_norm,
        key_over_seeds="median over seeds, smallest and largest of all · dashed: clip_norm",
    ),
    Chart(
        name="memories",
        title="Three memories over the lag",
        shows="How far back each network could learn from (gradient), what it keeps (past inputs, "
        "decoded from its state) and what it computes (what the task needs, decoded from its "
        "state). A network that keeps symbols may not compute.",
        measured="Could learn from: the gradient flow of the whole state after training, as a "
        "fraction of its largest value. Keeps, by the probe memory: accuracy for symbols, the kept "
        "share of R^2 for real inputs. Computes, by the probe latent: accuracy or R^2 in the "
        "second half of the steps, a level line. Theory: exp(lambda_1 lag), by the probe lyapunov.",
        key="dashed: chance · dotted: theory",
        needs="ended ok and was measured by the probes memory or latent (--probe all)",
        rows=memories,
        draw=draw_memories,
        key_over_seeds=f"{MEDIAN} · dashed: chance · dotted: theory",
    ),
    Chart(
        name="over-training",
        title="Probes over training",
        shows="The training loss, and the first figure of each probe, by cell, while a network "
        "learns. At an exponent of 0 a gradient neither grows nor shrinks.",
        measured="By probes, on the weights before training, after N, 2N, 4N, ... steps, and at "
        "the end (--probe-every N). The loss is the mean over ever more steps.",
        key="dashed: baseline, chance, or an exponent of 0",
        needs="ended ok and was measured by probes over training (--probe all --probe-every 10)",
        rows=over_training,
        draw=draw_over_training,
        key_over_seeds=f"{MEDIAN} · dashed: baseline, chance, or an exponent of 0",
    ),
    Chart(
        name="memory",
        title="Peak memory against T",
        shows="The most memory that training took, by engine. A slope of one means that every "
        "state is kept; checkpointed BPTT rises more slowly.",
        measured="Peak of a fresh process during training, less its size after imports. On a "
        "device with its own memory: the peak of the device.",
        key="",
        needs="ended ok with a known peak memory",
        rows=memory,
        draw=draw_memory,
    ),
    Chart(
        name="parity",
        title="Parity error against T",
        shows="How far loss and gradients are from the reference, by engine (points), and the most "
        "that rounding explains (ticks). A trial above its tick has no published speed.",
        measured="The largest relative difference from the NumPy float64 reference over loss and "
        "all gradient tensors, at the same cell, size and T. The tolerance is ten times the effect "
        "of rounding on the reference itself.",
        key="points: error · ticks: tolerance",
        needs="was compared with the reference",
        rows=parity,
        draw=draw_parity,
    ),
)
CHARTS = {chart.name: chart for chart in _ALL}
