"""The Python entrance: ``harness.run(...)`` plans, measures, stores and returns results, as the command line does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from harness.contract import Record, Trial, UsageError
from harness.contract.trial import OptionValue
from harness.logs import keep_log
from harness.measure.events import Event
from harness.plugins import Plugins, load_plugins
from harness.sweep.executor import Executor
from harness.sweep.fallback import fallback_notes
from harness.sweep.local import run_trials
from harness.sweep.local_settings import LocalSettings
from harness.sweep.plan import expand
from harness.sweep.plan_file import read_plan
from harness.sweep.presets import LAUNCHES
from harness.sweep.request import MOST_LAUNCHES, PlanRequest, merge
from harness.sweep.rounds import in_rounds
from harness.sweep.stop import StopRequest

if TYPE_CHECKING:
    from harness_results.results import Results

DEFAULT_STORE = "harness.sqlite"


class Sink(Protocol):
    """What measuring needs of a store."""

    def begin_run(self, command: str, settings: Mapping[str, Any]) -> int:
        """Return the id of a run that starts now."""

    def add(self, record: Record, run_id: int) -> None:
        """Store a record durably."""

    def calibrate(self, environment_id: str, name: str, content: Any) -> None:
        """Keep what was measured once of an environment."""

    def all_calibrations(self) -> Mapping[str, Mapping[str, Any]]:
        """Return environment_id -> name -> content of what is kept."""


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
    launches: int | None = None,
    timeout_seconds: float | None = None,
    sample_length: int = 300,
    progress: bool = True,
    **axes: Any,
) -> Results:
    """Train and measure the product of the axes; return one record per trial.

    Example::

        results = harness.run(backend=["numpy", "torch"], task="copy", cell="lstm", length=[25, 50])
        results.to_pandas()

    Args:
        plan: a TOML plan; the axes given here override its own.
        store: the store's path or URL; every record is kept there, and checkpoints beside it.
        task_options: task -> option -> value.
        launches: fresh processes that measure each trial, interleaved; the records hold medians over them.
            None: what the plan says, or 1.
        timeout_seconds: what one launch may take.
        sample_length: characters of text to sample from each text model.
        progress: show progress on stderr.
        axes: any field of a trial (``backend``, ``task``, ``cell``, ``length``, ``hidden``, ``seed``, ...), one value
            or a list of values.

    Raises:
        UsageError: anything asked for is unknown, unavailable or out of range, before any trial runs.
    """
    from harness.progress import ProgressView
    from harness_results.launches import combine
    from harness_results.results import Results
    from harness_results.store import Store

    request = PlanRequest(
        {name: _values(value) for name, value in axes.items()}, task_options or {}, launches=_checked(launches)
    )
    request = merge(read_plan(Path(plan)), request) if plan else request
    plugins = load_plugins()
    trials, launches = expand(request, plugins), request.launches or LAUNCHES
    settings = LocalSettings(timeout_seconds=timeout_seconds, sample_length=sample_length)
    with Store.open(store) as opened, ProgressView(launches * len(trials), quiet=not progress) as view:
        for note in fallback_notes(request, trials, plugins.backends):
            view.note(f"note: {note}")
        session = Session(
            opened, "harness.run(...)", plugins, checkpoint_folder(store), launches=launches, logs=log_folder(store)
        )
        return Results(combine(session.measure(trials, settings, view)))


def _checked(launches: int | None) -> int | None:
    if launches is not None and not (isinstance(launches, int) and 1 <= launches <= MOST_LAUNCHES):
        raise UsageError(f"launches = {launches!r}: a whole number from 1 to {MOST_LAUNCHES}")
    return launches


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


def checkpoint_folder(store: str | Path) -> Path:
    """Return the folder for a store's checkpoints: beside its file, or here, named by a server's host and database."""
    return _folder(store, "checkpoints")


def log_folder(store: str | Path) -> Path:
    """Return the folder for what workers print: beside the store's file, or here, named by a server's database."""
    return _folder(store, "logs")


def _folder(store: str | Path, what: str) -> Path:
    scheme, _, rest = str(store).rpartition(":///")
    if "://" not in str(store) or scheme.partition("+")[0] == "sqlite":
        path = Path(rest)
        return path.absolute().with_name(f"{path.name}.{what}")
    place = urlsplit(str(store))
    name = "-".join(part for part in (place.hostname, place.path.strip("/")) if part) or place.scheme
    return Path(f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.{what}").absolute()


@dataclass(frozen=True)
class Session:
    """Measures launches and stores each record as soon as it is there.

    Attributes:
        store: where records go.
        command: what the user typed, kept with the run.
        plugins: as loaded.
        checkpoints: the folder for trained weights, made when it is needed; None: they are not kept.
        stop: where a signal handler asks to stop.
        launches: fresh processes that measure each trial, in shuffled rounds over all trials.
        order_seed: shuffles them; kept with the run.
        executor: where the launches run.
        logs: the folder for what workers print, made when it is needed; None: it is not kept.
    """

    store: Sink
    command: str
    plugins: Plugins
    checkpoints: Path | None = None
    stop: StopRequest | None = None
    launches: int = 1
    order_seed: int = 0
    executor: Executor = run_trials
    logs: Path | None = None

    def measure(self, trials: Sequence[Trial], settings: LocalSettings, watcher: Watcher) -> Iterator[Record]:
        """Yield each launch's record after it is stored; a stop request ends the run early.

        Raises:
            StoreError: a record could not be stored; those before it are.
        """
        if self.checkpoints is not None:
            _make(self.checkpoints)
        run_id = self.store.begin_run(self.command, self._settings(settings))
        known = {name: dict(content) for name, content in self.store.all_calibrations().items()}
        settings = replace(settings, checkpoints=self.checkpoints, block=self.plugins.blocked, calibrations=known)
        settings = replace(settings, keep_logs=self.logs is not None)
        launches = in_rounds(trials, self.launches, self.order_seed)
        records = self.executor(
            launches, settings=settings, on_event=watcher.event, stop=self.stop, plugins=self.plugins
        )
        for told in records:
            record = keep_log(told, self.logs, run_id)
            self.store.add(record, run_id)
            self._calibrate(record, known, settings)
            watcher.finish(record)
            yield record

    def _settings(self, settings: LocalSettings) -> dict[str, Any]:
        pythons = {name: str(python.path) for name, python in settings.pythons.items()}
        order = {"launches": self.launches, "order_seed": self.order_seed}
        places = {"jobs": settings.places.jobs, "gpus": list(settings.places.cards)}
        return {
            **order,
            **places,
            "isolation": settings.isolation,
            "affinity": list(settings.affinity),
            "pythons": pythons,
        }

    def _calibrate(self, record: Record, known: dict[str, dict[str, Any]], settings: LocalSettings) -> None:
        """Keep the limits that this launch has measured, for the launches to come as well."""
        place = known.setdefault(str(record.environment_id), {})
        for name, content in record.details.get("calibrations", {}).items():
            if not settings.notes():  # measured beside others it is no limit of the machine
                self.store.calibrate(str(record.environment_id), name, content)
            place[name] = content


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make the folder {folder} for checkpoints: {error.strerror}; choose --store"
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"the folder {folder} for checkpoints cannot be written: make it writable, or choose --store")
