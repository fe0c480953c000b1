"""The Python entrance: ``harness.run(...)`` plans, measures, stores and returns results, as the command line does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.contract import Record, Trial, UsageError
from harness.contract.trial import OptionValue
from harness.measure.events import Event
from harness.plugins import Plugins, load_plugins
from harness.sweep.local import LocalSettings, run_trials
from harness.sweep.plan import PlanRequest, expand, merge, read_plan
from harness.sweep.stop import StopRequest

if TYPE_CHECKING:
    from harness_results.results import Results

DEFAULT_STORE = "harness.sqlite"


class Sink(Protocol):
    """What measuring needs of a store."""

    def begin_run(self, command: str) -> int:
        """Return the id of a run that starts now."""

    def add(self, record: Record, run_id: int) -> None:
        """Store a record durably."""


class Watcher(Protocol):
    """Who is told how a run goes."""

    def event(self, trial: Trial, event: Event) -> None:
        """The running trial tells something."""

    def finish(self, record: Record) -> None:
        """A trial is over, and its record is stored."""


def run(
    *,
    plan: str | Path | None = None,
    store: str | Path = DEFAULT_STORE,
    task_options: Mapping[str, Mapping[str, OptionValue]] | None = None,
    timeout_seconds: float | None = None,
    sample_length: int = 300,
    progress: bool = True,
    **axes: Any,
) -> Results:
    """Train and measure the product of the axes; return its records.

    Example::

        results = harness.run(backend=["numpy", "torch"], task="copy", cell="lstm", length=[25, 50])
        results.to_pandas()

    Args:
        plan: a TOML plan; the axes given here override its own.
        store: the store's path or URL; every record is kept there, and checkpoints beside it.
        task_options: task -> option -> value.
        timeout_seconds: what one trial may take.
        sample_length: characters of text to sample from each text model.
        progress: show progress on stderr.
        axes: any field of a trial (``backend``, ``task``, ``cell``, ``length``, ``hidden``, ``seed``, ...), one value
            or a list of values.

    Raises:
        UsageError: anything asked for is unknown, unavailable or out of range, before any trial runs.
    """
    from harness.cli.progress import ProgressView
    from harness_results.results import Results
    from harness_results.store import Store

    request = PlanRequest({name: _values(value) for name, value in axes.items()}, task_options or {})
    plugins = load_plugins()
    trials = expand(merge(read_plan(Path(plan)), request) if plan else request, plugins)
    settings = LocalSettings(timeout_seconds=timeout_seconds, sample_length=sample_length)
    with Store.open(store) as opened, ProgressView(len(trials), quiet=not progress) as view:
        session = Session(opened, "harness.run(...)", plugins, checkpoint_folder(store))
        return Results(list(session.measure(trials, settings, view)))


def sample(
    checkpoint: str | Path, *, prime: str | None = None, length: int = 500, temperature: float = 0.8, seed: int = 0
) -> str:
    """Return text that a trained network writes after ``prime``, drawn with the NumPy reference.

    Args:
        checkpoint: a ``.safetensors`` file that a run left.
        prime: text to start from; None: a line break.
        length: characters to write.
        temperature: p proportional to exp(logit / temperature); 0 takes the likeliest.
        seed: for the same text again.

    Raises:
        UsageError: the file is no checkpoint of a text model, or an argument is out of range.
    """
    from harness.measure.checkpoint import load
    from harness.measure.sampling import sample_text
    from harness.measure.setup import text_trainer
    from harness.measure.streams import generator

    stored = load(Path(checkpoint))
    if stored.vocabulary is None:
        raise UsageError(f"{checkpoint} was trained on task {stored.trial.task!r}, which is no text: nothing to sample")
    trainer = text_trainer(load_plugins(), stored.trial, stored.parameters, stored.vocabulary)
    rng = generator(seed, "sample", str(temperature))
    prime = stored.vocabulary.prime if prime is None else prime
    return sample_text(trainer, stored.vocabulary, prime=prime, length=length, temperature=temperature, rng=rng)


def _values(value: Any) -> Sequence[Any]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def checkpoint_folder(store: str | Path) -> Path | None:
    """Return the folder beside a store's file for its checkpoints; None for a store that is no file."""
    text = str(store)
    if "://" in text and not text.startswith("sqlite:///"):
        return None
    path = Path(text.removeprefix("sqlite:///"))
    return path.absolute().with_name(path.name + ".checkpoints")


@dataclass(frozen=True)
class Session:
    """Measures trials one after another and stores each record before the next trial begins.

    Attributes:
        store: where records go.
        command: what the user typed, kept with the run.
        plugins: as loaded.
        checkpoints: the folder for trained weights, made when it is needed; None: they are not kept.
        stop: where a signal handler asks to stop.
    """

    store: Sink
    command: str
    plugins: Plugins
    checkpoints: Path | None = None
    stop: StopRequest | None = None

    def measure(self, trials: Sequence[Trial], settings: LocalSettings, watcher: Watcher) -> Iterator[Record]:
        """Yield each record after it is stored; a stop request ends the run early.

        Raises:
            StoreError: a record could not be stored; those before it are.
        """
        if self.checkpoints is not None:
            _make(self.checkpoints)
        run_id = self.store.begin_run(self.command)
        settings = replace(settings, checkpoints=self.checkpoints, block=self.plugins.blocked)
        records = run_trials(trials, settings=settings, on_event=watcher.event, stop=self.stop, plugins=self.plugins)
        for record in records:
            self.store.add(record, run_id)
            watcher.finish(record)
            yield record


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make the folder {folder} for checkpoints: {error.strerror}; choose --store"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"the folder {folder} for checkpoints cannot be written: make it writable, or choose --store")
