"""The options of ``harness run`` that fill the axes of a plan, as data."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import rich_click as click

from harness.cli.options import types
from harness.sweep.folders import DEFAULT_STORE

# name, short flag, type, help: each becomes ``--name`` and an axis of the plan
_AXES: tuple[tuple[str, str | None, click.ParamType[Any], str], ...] = (
    (
        "backend",
        "-b",
        types.Named("backends"),
        "BACKEND (what its users run), BACKEND:VARIANT, :fastest, :all or GROUP.  [default: numpy:fastest]",
    ),
    ("task", "-t", types.Named("tasks"), "Task.  [default: char]"),
    ("cell", "-c", types.Named("cells"), "Recurrence.  [default: lstm]"),
    (
        "length",
        "-T",
        types.Lengths(),
        "Sequence lengths, or ranges FIRST:LAST:xFACTOR.  [default: 25,50,100]",
    ),
    ("hidden", None, types.INTEGERS, "Hidden units per layer.  [default: the task's]"),
    ("layers", None, types.INTEGERS, "Stacked layers.  [default: 1]"),
    ("dropout", None, types.NUMBERS, "Dropout between layers.  [default: 0]"),
    (
        "initialisation",
        None,
        types.WORDS,
        "torch (uniform), glorot (with orthogonal) or identity (IRNN).",
    ),
    (
        "forget_bias",
        None,
        types.NUMBERS_OR_NONE,
        "Bias towards keeping the state (lstm f, gru z, mingru 1 - z).",
    ),
    (
        "chrono",
        None,
        types.INTEGERS_OR_NONE,
        "Chrono initialisation for dependencies up to this many steps.",
    ),
    ("batch", None, types.INTEGERS, "Sequences per batch.  [default: the task's]"),
    ("steps", None, types.INTEGERS, "Training steps.  [default: the task's]"),
    ("optimizer", None, types.WORDS, "sgd, rmsprop, adagrad or adam.  [default: the task's]"),
    ("learning_rate", None, types.NUMBERS, "Learning rate.  [default: the task's]"),
    ("momentum", None, types.NUMBERS, "Momentum of sgd.  [default: 0]"),
    ("decay", None, types.NUMBERS, "Decay of rmsprop.  [default: 0.99]"),
    ("schedule", None, types.WORDS, "constant, exponential or cosine.  [default: constant]"),
    (
        "schedule_steps",
        None,
        types.INTEGERS,
        "Period of the schedule.  [default: all steps; exponential: a tenth]",
    ),
    (
        "schedule_factor",
        None,
        types.NUMBERS,
        "Factor per period of the exponential schedule.  [default: 1]",
    ),
    (
        "clip_norm",
        None,
        types.NUMBERS_OR_NONE,
        "Clip the gradient's global norm.  [default: the task's]",
    ),
    ("clip_value", None, types.NUMBERS_OR_NONE, "Clip each element of the gradient instead."),
    (
        "evaluate_every",
        None,
        types.INTEGERS,
        "Steps between evaluations.  [default: a tenth, at least 150]",
    ),
    ("seed", None, types.INTEGERS, "Seed of weights and data.  [default: 0]"),
    (
        "data_seed",
        None,
        types.INTEGERS_OR_NONE,
        "Seed of the training data alone, where the task draws it.",
    ),
    (
        "evaluation_seed",
        None,
        types.INTEGERS_OR_NONE,
        "Seed of the validation data alone, where the task draws it.",
    ),
    ("dtype", None, types.WORDS, "float32, float64, bfloat16 or tf32.  [default: float32]"),
    ("device", None, types.WORDS, "Device of the backend, or auto.  [default: auto]"),
    ("threads", None, types.INTEGERS, "Threads for every backend alike.  [default: 1]"),
    (
        "devices",
        None,
        types.INTEGERS,
        "Devices over which each batch is split, data-parallel.  [default: 1]",
    ),
    (
        "checkpoint",
        None,
        types.CHECKPOINTS,
        "Checkpointed BPTT: off, auto (chunks of sqrt T, at least 128) or N time steps per chunk.  [default: off]",
    ),
)


def default_store() -> str:
    """Return where records are kept unless a command says otherwise: ``$HARNESS_STORE``, or a file right here."""
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
    for name, short, kind, text in reversed(_AXES):
        flags = [f"--{name.replace('_', '-')}", *([short] if short else [])]
        function = click.option(*flags, name, type=kind, multiple=True, help=text)(function)
    return function


def given_axes(values: dict[str, Any]) -> dict[str, list[Any]]:
    """Return axis -> values for the axes that were given; repeated options are joined."""
    return {
        name: [value for part in values[name] for value in part]
        for name, *_ in _AXES
        if values.get(name)
    }
