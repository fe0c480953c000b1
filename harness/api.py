"""The Python entrance: ``harness.run`` does what ``harness run`` does, and returns the results."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.contract import UsageError
from harness.contract.wording import printable
from harness.hidden_units.units import CHARACTERS, UnitStudy, study_units
from harness.measure.checkpoint import load
from harness.measure.proof.streams import generator
from harness.measure.sampling import sample_text
from harness.measure.setup import text_trainer
from harness.plan.file import planned
from harness.plan.options import OPTIONS, with_keywords
from harness.plan.request import PlanRequest, TaskSettings
from harness.plugins import load_plugins
from harness.sweep.folders import DEFAULT_STORE
from harness.sweep.run import execute
from harness.sweep.trained.checkpoints import checkpoint_of
from harness.sweep.trained.probes import ALL, probe_trial
from harness_results.results import Results


def run(
    *,
    plan: str | Path | None = None,
    suite: str | None = None,
    quick: bool = False,
    store: str | Path = DEFAULT_STORE,
    task_options: TaskSettings | None = None,
    progress: bool = True,
    **keywords: Any,
) -> Results:
    """Train and measure what the store lacks of the product of the axes; return a record per trial.

    Example::

        results = harness.run(backend=["numpy", "torch"], task="copy", cell="lstm", length=[25, 50])
        results.to_pandas()

    Args:
        plan: a TOML plan; the axes and options given here override the plan's.
        suite: the name of a plan that ships with the harness or a plugin.
        quick: the smaller form of the suite or plan.
        store: the store's path or URL; every record is kept there, and checkpoints next to it.
        task_options: task -> option -> a value, or a list of values.
        progress: show progress on stderr.
        OPTIONS
        keywords: these options, and any field of a trial (``backend``, ``task``, ``cell``,
            ``length``, ``hidden``, ``seed``, ...) or ``tokens``, one value or a list of values.

    Raises:
        UsageError: anything asked for is unknown, unavailable or out of range, before any trial
            runs.
        StoreError: the store cannot be read, or a record could not be stored; those before it are.
    """
    if not isinstance(store, str | os.PathLike):
        raise UsageError(f"store = {store!r}: write a path or a URL")
    if not all(isinstance(options, Mapping) for options in (task_options or {}).values()):
        raise UsageError(f"task_options = {task_options!r}: write a task, then its options")
    chosen = {name: keywords.pop(name) for name in OPTIONS if name in keywords}
    axes = {name: _values(value) for name, value in keywords.items()}
    try:
        request, plugins = PlanRequest(axes, task_options or {}), load_plugins()
        outcome = execute(
            planned(request, Path(plan) if plan else None, suite, plugins, quick=quick),
            chosen,
            store=store,
            plugins=plugins,
            command="harness.run(...)",
            say=_note if progress else lambda _: None,
            quiet=not progress,
            with_curves=True,
        )
    except UsageError as error:
        error.args = (with_keywords(str(error)),)
        raise
    if outcome.error is not None:
        raise outcome.error
    return Results(outcome.records)


def _values(value: Any) -> Sequence[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _note(text: str) -> None:
    sys.stderr.write(printable(f"note: {text}\n"))


def _declare_options() -> None:
    """Put the options of a run into the signature and the docstring of ``run``."""
    parameters = {
        name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option.default)
        for name, option in OPTIONS.items()
    }
    signature = inspect.signature(run)
    *first, keywords = signature.parameters.values()
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*first, *parameters.values(), keywords]
    )
    lines = [f"    {name}: {option.full_help}" for name, option in OPTIONS.items()]
    run.__doc__ = inspect.cleandoc(run.__doc__ or "").replace("    OPTIONS", "\n".join(lines))


_declare_options()


def sample(
    trial: str | Path,
    *,
    store: str | Path = DEFAULT_STORE,
    prime: str | None = None,
    length: int = 500,
    temperature: float = 0.5,
    seed: int = 0,
) -> str:
    """Return text that a trained network writes after ``prime``, drawn with the NumPy reference.

    Args:
        trial: a trial's id, its first digits, ``last``, or a ``.safetensors`` file that a run left.
        store: the store of the trial.
        prime: text to start from; None: a line break.
        length: characters to write.
        temperature: p proportional to exp(logit / temperature); 0 takes the likeliest.
        seed: for the same text again.

    Raises:
        UsageError: there is no such trial, it left no checkpoint, it is not a text model, or an
            argument is out of range.
        StoreError: the store or the file cannot be read.
        DivergedError: the outputs of the network are not finite.
    """
    if seed < 0:
        raise UsageError(f"seed = {seed}: take 0 or a larger number")
    path = checkpoint_of(str(trial), store)
    stored = load(path)
    if stored.vocabulary is None:
        raise UsageError(
            f"{path} was trained on task {stored.trial.task!r}, which is not text: "
            "nothing to sample"
        )
    trainer = text_trainer(load_plugins(), path, stored, stored.vocabulary)
    rng = generator(seed, "sample", str(temperature))
    prime = stored.vocabulary.prime if prime is None else prime
    return sample_text(
        trainer, stored.vocabulary, prime=prime, length=length, temperature=temperature, rng=rng
    )


def units(
    trial: str | Path,
    *,
    store: str | Path = DEFAULT_STORE,
    text: str | None = None,
    characters: int = CHARACTERS,
) -> UnitStudy:
    """Return what the hidden units of a trained text network respond to.

    Example::

        study = harness.units("3f9a")  # in a notebook: the table and the coloured text
        study.view("brackets")         # of one class
        study.classes[0].units[0]      # the best unit for the first class, with its AUC
        study.values[:, study.number("h0.17")]

    Args:
        trial: a trial's id, its first digits, ``last``, or a ``.safetensors`` file that a run left.
        store: the store of the trial.
        text: what the network reads; None: the validation text of its trial.
        characters: the most characters to read, from the start.

    Raises:
        UsageError: there is no such trial, it left no checkpoint, it is not a text model, or the
            text cannot be used.
        StoreError: the store cannot be read.
    """
    if not isinstance(text, str | None):
        raise UsageError(f"text = {text!r:.40}: give the text itself, as a string")
    if not isinstance(characters, int) or characters < 1:
        raise UsageError(f"characters = {characters!r}: take a whole number of 1 or more")
    checkpoint = checkpoint_of(str(trial), store)
    return study_units(load_plugins(), checkpoint, text=text, characters=characters)


def probe(
    trial: str | Path, probes: str | Sequence[str] = ALL, *, store: str | Path = DEFAULT_STORE
) -> dict[str, dict[str, Any]]:
    """Run probes on a trained network, store what they measure, and return it.

    Example::

        harness.probe("3f9a", "memory")["memory"]["figures"]["capacity"]

    Args:
        trial: a trial's id, its first digits, ``last``, or a ``.safetensors`` file that a run left;
            for a file nothing is stored.
        probes: ``all``, a name, or several.
        store: the store of the trial.

    Returns:
        probe -> ``version``, ``distribution``, ``seconds``, ``figures`` and ``curves``; or
        ``failed``, the reason.

    Raises:
        UsageError: there is no such trial or probe, or the trial left no checkpoint.
        StoreError: the store cannot be read or written.
    """
    names = probes if isinstance(probes, str) else ",".join(probes)
    return dict(probe_trial(str(trial), names, store, load_plugins()))
