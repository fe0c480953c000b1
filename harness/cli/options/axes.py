"""The options of ``harness run`` that fill the axes of a plan."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import NoneType
from typing import Any, get_args

import rich_click as click

from harness.cli.options import types
from harness.plan.request import AXES, PlanAxes
from harness.sweep.folders import DEFAULT_STORE

_BACKEND = (
    "BACKEND (what its users run), BACKEND:VARIANT, :fastest, :all or GROUP.  "
    "[default: numpy:fastest]"
)
_CHECKPOINT = (
    "Checkpointed BPTT: off, auto (chunks of sqrt T, at least 128) or N time steps per chunk.  "
    "[default: off]"
)
# axis -> short flag, help. The values that an axis takes are those of its field in ``PlanAxes``.
_HELP: Mapping[str, tuple[str, str]] = {
    "backend": ("-b", _BACKEND),
    "task": ("-t", "Task.  [default: char]"),
    "cell": ("-c", "Recurrence.  [default: the task's]"),
    "length": (
        "-T",
        "Sequence lengths, or ranges FIRST:LAST:xFACTOR.  [default: the task's]",
    ),
    "hidden": ("", "Hidden units per layer.  [default: the task's]"),
    "layers": ("", "Stacked layers.  [default: 1]"),
    "embedding": ("", "Width of a trained table of tokens.  [default: the task's; none: one-hot]"),
    "tied_readout": (
        "",
        "The embedding, as wide as --hidden, is also the readout's weight.",
    ),
    "dropout": ("", "Dropout between layers.  [default: 0]"),
    "initialisation": (
        "--init",
        "torch (uniform), glorot (with orthogonal), identity (IRNN), or recurrent=identity,...",
    ),
    "forget_bias": ("", "Bias towards keeping the state (lstm f, gru z, mingru 1 - z)."),
    "chrono": ("", "Chrono initialisation for dependencies up to this many steps."),
    "batch": ("", "Sequences per batch.  [default: the task's]"),
    "steps": ("", "Training steps.  [default: the task's]"),
    "tokens": ("", "Time steps of all sequences to train on; sets --steps."),
    "optimizer": ("", "sgd, rmsprop, adagrad or adam.  [default: the task's]"),
    "learning_rate": ("", "Learning rate.  [default: the task's]"),
    "momentum": ("", "Momentum of sgd.  [default: 0]"),
    "decay": ("", "Decay of rmsprop.  [default: 0.99]"),
    "beta1": ("", "Decay of adam's mean gradient.  [default: 0.9]"),
    "beta2": ("", "Decay of adam's mean square.  [default: 0.999]"),
    "epsilon": ("", "What keeps the root above 0.  [default: 1e-8; adagrad: 1e-10]"),
    "epsilon_in_root": ("", "true: epsilon inside the root, as in TensorFlow.  [default: false]"),
    "initial_square": ("", "Mean square from which rmsprop starts.  [default: 0]"),
    "weight_decay": ("", "Decoupled weight decay: adam is then AdamW.  [default: 0]"),
    "warmup_steps": ("", "Steps over which the learning rate rises from 0.  [default: 0]"),
    "schedule": ("", "constant, exponential or cosine.  [default: constant]"),
    "schedule_start": ("", "Steps before the schedule begins.  [default: 0]"),
    "schedule_steps": ("", "Period of the schedule.  [default: all steps; exponential: a tenth]"),
    "schedule_factor": ("", "Factor per period of the exponential schedule.  [default: 1]"),
    "clip_norm": ("", "Clip the gradient's global norm.  [default: the task's]"),
    "clip_value": ("", "Clip each element of the gradient instead."),
    "evaluate_every": ("", "Steps between evaluations.  [default: a tenth, at least 150]"),
    "patience": ("", "Stop after this many evaluations without improvement.  [default: never]"),
    "evaluate_at": (
        "",
        "Judge the trained network at these lengths too, or multiples of T: 40,80 or 2T,4T.",
    ),
    "seed": ("", "Seed of weights and data.  [default: 0]"),
    "seeds": ("", "How many seeds, from 0; a row of a table is the median over them."),
    "data_seed": ("", "Seed of the training data alone, if the task draws it."),
    "evaluation_seed": ("", "Seed of the validation data alone, if the task draws it."),
    "dtype": ("", "float32, float64, bfloat16 or tf32.  [default: float32]"),
    "device": ("", "Device of the backend, or auto.  [default: auto]"),
    "threads": ("", "Threads for every backend alike.  [default: 1]"),
    "devices": ("", "Devices over which each batch is split, data-parallel.  [default: 1]"),
    "checkpoint": ("", _CHECKPOINT),
}
_KINDS: Mapping[str, click.ParamType[Any]] = {
    "backend": types.Named("backends"),
    "task": types.Named("tasks"),
    "cell": types.Named("cells"),
    "length": types.Lengths(),
    "evaluate_at": types.OtherLengths(),
    "initialisation": types.Initialisations(),
    "checkpoint": types.CHECKPOINTS,
}


def _kind(axis: str) -> click.ParamType[Any]:
    """Return what the option of an axis accepts: lists of what its field accepts."""
    if axis in _KINDS:
        return _KINDS[axis]
    annotation = PlanAxes.model_fields[axis].annotation
    branches = {
        getattr(branch, "__origin__", branch) for branch in (annotation, *get_args(annotation))
    }
    optional = NoneType in branches
    if float in branches:
        return types.NUMBERS_OR_NONE if optional else types.NUMBERS
    if bool in branches:
        return types.SWITCHES
    if int in branches:
        return types.INTEGERS_OR_NONE if optional else types.INTEGERS
    return types.WORDS


AXES_IN_HELP = (*_HELP, *(axis for axis in AXES if axis not in _HELP))


def default_store() -> str:
    """Return the default store: ``$HARNESS_STORE``, or a file in the working directory."""
    return os.environ.get("HARNESS_STORE") or DEFAULT_STORE


def run_option(help_: str, default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what adds ``--run``, the same for every verb that reads some run of a store."""
    return click.option(
        "--run", type=types.Run(), help=f"{help_}: a number, last, last~1.  [default: {default}]"
    )


def store_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--store``, the same for every verb that takes one."""
    text = f"The store of records.  [default: {DEFAULT_STORE}, or $HARNESS_STORE]"
    return click.option("--store", default=default_store, metavar="PATH", help=text)(function)


def axis_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add one repeatable, comma-separated option per axis of a plan."""
    for axis in reversed(AXES_IN_HELP):
        short, text = _HELP.get(axis, ("", ""))
        flags = [f"--{axis.replace('_', '-')}", *([short] if short else [])]
        alone = "true" if PlanAxes.model_fields[axis].annotation is bool else None
        function = click.option(
            *flags,
            axis,
            type=_kind(axis),
            multiple=True,
            help=text,
            is_flag=False,
            flag_value=alone,
        )(function)
    return function


def given_axes(values: dict[str, Any]) -> dict[str, list[Any]]:
    """Return axis -> values for the axes that were given; repeated options are joined."""
    return {
        axis: [value for part in values[axis] for value in part]
        for axis in AXES_IN_HELP
        if values.get(axis)
    }
