"""The columns of a record, each declared once; tables, files and documents derive from them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal

Group = Literal[
    "trial", "outcome", "learning", "speed", "gradients", "proof", "origin", "launches", "reading"
]
LARGEST = 1e300  # beyond it, sums and squares overflow
POSITIVE = (0.0, LARGEST)
NORM = (0.0, sys.float_info.max)  # losses and norms are shown and compared only, never squared
LOSS = (-sys.float_info.max, sys.float_info.max)


@dataclass(frozen=True)
class Column:
    """One column of a record.

    Attributes:
        name: in records, files and on the command line.
        group: where the value comes from. ``trial``, ``outcome`` and ``origin``: attributes of the
            trial or of the record. ``learning``, ``speed``, ``gradients`` and ``proof``: figures.
            ``launches`` and ``reading``: read from the details.
        type: of a known value, in a data frame and in Parquet: str, int, float or bool.
        says: what the column means, as one line of Markdown.
        unit: of a figure; None: a plain number.
        better: which direction is better; None: the figure measures no quality.
        over_launches: how the launches of a trial make one figure. ``interval``: the median of the
            throughput and its interval; ``median``; ``equal``: all launches must agree; None: the
            figure of the first launch.
        label: the heading of the column in tables.
        table: the table of a report that has the column; None: none.
        within: the least and the largest value of a stored figure; any other is left out.
    """

    name: str
    group: Group
    type: type
    says: str
    unit: str | None = None
    better: Literal["higher", "lower"] | None = None
    over_launches: Literal["interval", "median", "equal"] | None = None
    label: str = ""
    table: Literal["networks", "limits"] | None = None
    within: tuple[float, float] = POSITIVE


# Stored files have the columns in this order: append a new one at the end, whatever its group.
TABLE = (
    Column("trial_id", "trial", str, "what was asked for, as a hash: equal settings, equal id"),
    Column("backend", "trial", str, "the plugin that trained the network"),
    Column("variant", "trial", str, "the implementation within the backend"),
    Column("task", "trial", str, "what the network learns"),
    Column("cell", "trial", str, "the recurrent cell"),
    Column("length", "trial", int, "T, the time steps of a sequence as the task counts them"),
    Column("layers", "trial", int, "stacked recurrent layers"),
    Column("hidden", "trial", int, "H, the units of a layer"),
    Column("batch", "trial", int, "B, the sequences of a training step"),
    Column("steps", "trial", int, "training steps"),
    Column("optimizer", "trial", str, "the rule of the update"),
    Column("learning_rate", "trial", float, "the largest one of the schedule"),
    Column("clip_norm", "trial", float, "the largest gradient norm that an update uses"),
    Column("seed", "trial", int, "of all random streams that have no seed of their own"),
    Column("dtype", "trial", str, "the number format, see [number formats](#number-formats)"),
    Column("device", "trial", str, "what the backend was to train on"),
    Column("threads", "trial", int, "the threads of the engine"),
    Column("status", "outcome", str, "how the trial ended, see [status](#status)"),
    Column("reason", "outcome", str, "why it did not end well"),
    Column(
        "parameters", "learning", float,
        "trained scalars: two biases per gate, as in `torch.nn`, and the readout",
        over_launches="equal",
    ),
    Column(
        "loss_initial", "learning", float,
        "training loss before the first update: the mean over the positions that count, in nats "
        "(cross-entropy) or squared error",
        unit="loss", better="lower", over_launches="equal", within=LOSS,
    ),
    Column(
        "loss_final", "learning", float,
        "mean training loss of the last 5 % of the steps (at least one)",
        unit="loss", better="lower", over_launches="equal", within=LOSS,
    ),
    Column(
        "loss_validation", "learning", float,
        "loss after training on held-out data with a random stream of its own, dropout off",
        unit="loss", better="lower", over_launches="equal", label="loss", table="networks",
        within=LOSS,
    ),
    Column(
        "loss_baseline", "learning", float,
        "loss of the best predictor that learns nothing, *on the very validation batches*: that of "
        "the distribution's mean for `adding`, of certain blanks and guessed symbols for `copy`; "
        "for text that of the best of the uniform, unigram, bigram and trigram models fitted on "
        "the training split. The predictor is fixed, never fitted to those batches",
        unit="loss", over_launches="equal", within=LOSS,
    ),
    Column(
        "loss_floor", "learning", float, "loss of a perfect predictor, if it is known",
        unit="loss", over_launches="equal", within=LOSS,
    ),
    Column(
        "loss_ratio", "learning", float,
        "`loss_validation / loss_baseline`; near 1 on `copy` and `adding` means that nothing was "
        "learnt, however small the loss looks. Both losses are of the same batches, so that chance "
        "in drawing them does not move the ratio of a network that has learnt nothing",
        better="lower", over_launches="equal", within=LOSS,
    ),
    Column(
        "accuracy", "learning", float,
        "right answers among the positions that carry information (for `copy` the recall positions "
        "only)",
        unit="fraction", better="higher", over_launches="equal",
    ),
    Column(
        "solved", "learning", bool,
        "whether the task's criterion holds on validation after training. The criterion is the "
        "published one if a paper states one (`adding` in its variants `pascanu` and `hs97`), else "
        "this project's own; `harness show` and the line below a table say which",
        better="higher", over_launches="equal",
    ),
    Column(
        "steps_to_solve", "learning", float,
        "the first evaluation at which the criterion held",
        unit="steps", better="lower", over_launches="equal",
    ),
    Column(
        "tokens_per_second", "speed", float,
        "all tokens of the steady blocks over all their seconds",
        unit="tokens/s", better="higher", over_launches="interval", label="tokens/s",
        table="networks",
    ),
    Column(
        "tokens_per_second_low", "speed", float, "the lower end of the 95 % interval",
        unit="tokens/s", better="higher", over_launches="interval",
    ),
    Column(
        "tokens_per_second_high", "speed", float, "the upper end of the 95 % interval",
        unit="tokens/s", better="higher", over_launches="interval",
    ),
    Column(
        "step_seconds_median", "speed", float,
        "the seconds of all steady blocks over their steps; of several launches the median",
        unit="s", better="lower", over_launches="median", label="step",
    ),
    Column(
        "first_step_seconds", "speed", float, "the first training step",
        unit="s", better="lower", over_launches="median", label="first step",
    ),
    Column(
        "compile_seconds", "speed", float, "compiling, if the engine compiles ahead of time",
        unit="s", better="lower", over_launches="median", label="compiling",
    ),
    Column(
        "flops_per_second", "speed", float,
        "floating-point operations of the matrix products of a training step, per second",
        unit="FLOP/s", better="higher", over_launches="median", label="GFLOP/s", table="limits",
    ),
    Column(
        "fraction_of_peak", "speed", float,
        "the speed relative to one large product on the same threads, see [limits](limits.md)",
        unit="fraction", better="higher", over_launches="median", label="% peak", table="limits",
    ),
    Column(
        "fraction_of_serial_limit", "speed", float,
        "the speed relative to the chain of products that a recurrence cannot avoid",
        unit="fraction", better="higher", over_launches="median", label="% serial", table="limits",
    ),
    Column(
        "gradient_norm_first", "gradients", float,
        "global L2 norm over all parameters before clipping, at the first training step",
        better="lower", over_launches="equal", within=NORM,
    ),
    Column(
        "gradient_norm_median", "gradients", float, "the median of that norm over all steps",
        better="lower", over_launches="equal", label="∇ norm", table="networks", within=NORM,
    ),
    Column(
        "gradient_norm_max", "gradients", float, "the largest of those norms",
        better="lower", over_launches="equal", within=NORM,
    ),
    Column(
        "gradient_norm_last", "gradients", float, "the norm at the last step",
        better="lower", over_launches="equal", within=NORM,
    ),
    Column(
        "clipped_fraction", "gradients", float,
        "the share of steps in which clipping changed anything",
        unit="fraction", better="lower", over_launches="equal",
    ),
    Column(
        "gradient_horizon", "gradients", float,
        "the lag at which the gradient falls below 1 % of its value at lag 0; the number of lags "
        "if it never does",
        unit="time steps", better="higher", over_launches="equal", label="horizon",
        table="networks",
    ),
    Column(
        "gradient_decay", "gradients", float,
        "the gradient's factor per time step back: below 1 vanishing, above 1 exploding",
        over_launches="equal",
    ),
    Column(
        "peak_memory_bytes", "proof", float, "the peak of the process, or device, in training",
        unit="bytes", better="lower", over_launches="median", label="bytes",
    ),
    Column(
        "parity_error", "proof", float,
        "the worst tensor's largest absolute deviation from the reference, relative to its scale",
        better="lower",
    ),
    Column("parity_tolerance", "proof", float, "the largest `parity_error` that passes"),
    Column("environment_id", "origin", str, "a hash of the machine, the system and Python"),
    Column("started_at", "origin", str, "when the launch began: ISO 8601, UTC"),
    Column("harness_version", "origin", str, "the version that measured"),
    Column("launches", "launches", int, "how many fresh processes the figures come from"),
    Column("interval", "launches", str, "which kind of interval the throughput has"),
    Column("python", "trial", str, "the interpreter, if the plan names several"),
    Column(
        "settings", "reading", str,
        "what was asked for and has no column of its own, if it is not the default, as JSON text",
    ),
    Column(
        "gradient_horizon_censored", "reading", bool,
        "whether the gradient never fell so far: the horizon is then a bound",
    ),
    Column("deviation", "reading", str, "in what the variant computes another function"),
    Column(
        "loss_baseline_exact", "reading", float,
        "the baseline's loss over all sequences that the task can draw (`adding`: the variance of "
        "the target, 1/6 for `halves`); for text it is equal to `loss_baseline`",
        unit="loss",
    ),
    Column(
        "solved_lost_at", "reading", float,
        "the first evaluation after `steps_to_solve` at which the criterion no longer held; `null` "
        "if it held at all of them. What was solved first may be lost again",
        unit="steps",
    ),
    Column(
        "scores", "reading", str,
        "further scores of the task on validation after training, by name, as JSON text: "
        '`{"exact_match": 0.98}`, the share of sequences recalled whole, for `copy`',
    ),
    Column(
        "gradient_horizon_step", "reading", int,
        "after how many training steps horizon and decay were measured; 0: the untrained network",
        unit="steps",
    ),
    Column("gradient_exploding", "reading", bool, "whether the gradient exploded"),
    Column(
        "evaluation_sets", "reading", str,
        "what the trained network reaches on further held-out data, as JSON text: a list with a "
        "mapping for each set (`test`, `T=40`) of its `name`, `length`, `loss_validation`, "
        "`accuracy`, `extra`, `loss_baseline` on the very batches of the set, `loss_ratio`, "
        "`solved`, `standard_error_validation` and `tokens_validation`",
    ),
    Column(
        "seconds_to_solve", "reading", float,
        "`steps_to_solve` times `step_seconds_median`: training alone, without compiling and "
        "evaluations",
        unit="s",
    ),
    Column(
        "probes", "reading", str,
        "the figures that [probes](writing-a-probe.md) measured of the trained network, as JSON "
        'text: `{"probe.memory.capacity": 7.57}`',
    ),
)  # fmt: skip

FIGURES = tuple(
    column for column in TABLE if column.group in ("learning", "speed", "gradients", "proof")
)
COLUMNS = tuple(column.name for column in TABLE)
FIGURE_NAMES = tuple(column.name for column in FIGURES)


def names_of(*groups: Group) -> tuple[str, ...]:
    """Return the names of the columns of these groups, in their order."""
    return tuple(column.name for column in TABLE if column.group in groups)
