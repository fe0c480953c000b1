"""The Python entrance: ``harness.run(...)`` plans, measures, stores and returns results, as the command line does."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from harness.contract import Record, StoreError, Trial, UsageError
from harness.contract.trial import OptionValue
from harness.execute.executor import Executor
from harness.execute.local import run_trials
from harness.execute.settings import LocalSettings
from harness.execute.stop import StopRequest
from harness.measure.events import Event
from harness.measure.machine.environment import machine_id
from harness.plan.expand import expand_with_notes
from harness.plan.file import read_plan
from harness.plan.presets import LAUNCHES
from harness.plan.request import MOST_LAUNCHES, MOST_RETRIES, PlanRequest, merge
from harness.plugins import Plugins, load_plugins
from harness.sweep.identity import identities
from harness.sweep.logs import keep_log
from harness.sweep.sweep_session import SweepSession
from harness.sweep.work_plan import NO_IDENTITY, WorkPlan, in_order, make_work_plan

if TYPE_CHECKING:
    from harness_results.results import Results
    from harness_results.store.ledger import Mode
    from harness_results.store.store import Store

DEFAULT_STORE = "harness.sqlite"


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
    retries: int | None = None,
    sample_length: int = 300,
    fresh: bool = False,
    retry_failed: bool = False,
    progress: bool = True,
    **axes: Any,
) -> Results:
    """Train and measure what the store lacks of the product of the axes; return one record per trial of it.

    Example::

        results = harness.run(backend=["numpy", "torch"], task="copy", cell="lstm", length=[25, 50])
        results.to_pandas()

    Args:
        plan: a TOML plan; the axes given here override its own.
        store: the store's path or URL; every record is kept there, and checkpoints beside it.
        task_options: task -> option -> value.
        launches: fresh processes that measure each trial, interleaved; the records hold medians
            over them. None: what the plan says, or 1.
        timeout_seconds: what one launch may take. None: what the plan says, or any time.
        retries: how often a launch that failed, crashed or ran out of time or memory is tried again
            at once. None: what the plan says, or never.
        sample_length: characters of text to sample from each text model.
        fresh: measure every launch again, whatever the store has.
        retry_failed: measure again what did not end ``ok``.
        progress: show progress on stderr.
        axes: any field of a trial (``backend``, ``task``, ``cell``, ``length``, ``hidden``,
            ``seed``, ...), one value or a list of values.

    Raises:
        UsageError: anything asked for is unknown, unavailable or out of range, before any trial
            runs.
    """
    from harness.progress import ProgressView
    from harness_results.results import Results

    if fresh and retry_failed:
        raise UsageError("fresh measures all again, what failed included: leave retry_failed out")
    request = PlanRequest(
        {name: _values(value) for name, value in axes.items()},
        task_options or {},
        launches=_checked("launches", launches, 1, MOST_LAUNCHES),
        retries=_checked("retries", retries, 0, MOST_RETRIES),
    )
    request = merge(read_plan(Path(plan)), request) if plan else request
    plugins = load_plugins()
    trials, notes = expand_with_notes(request, plugins)
    launches = request.launches or LAUNCHES
    settings = LocalSettings(
        timeout_seconds=timeout_seconds or request.timeout_seconds,
        sample_length=sample_length,
        retries=request.retries or 0,
    )
    mode: Mode = "fresh" if fresh else "retry_failed" if retry_failed else "resume"
    found = look(
        store,
        trials,
        settings,
        plugins,
        launches=launches,
        mode=mode,
        chosen=request.left_to_backends(),
    )
    taken, whole = len(found.ended), len(found.ended) + len(found.left)
    with ProgressView(whole, taken=taken, quiet=not progress, names=found.varying) as view:
        for note in (*notes, *found.notes(str(store))):
            view.note(f"note: {note}")
        return Results(measured(store, found, "harness.run(...)", plugins, settings, view))


def measured(
    store: str | Path,
    work_plan: WorkPlan,
    command: str,
    plugins: Plugins,
    settings: LocalSettings,
    watcher: Watcher,
) -> list[Record]:
    """Measure what is left, and return one record per trial of the plan, whenever it was measured."""
    from harness_results.store.store import Store
    from harness_results.study.launches import combine
    from harness_results.study.verdicts.floors import with_floors

    with Store.open(store, create=bool(work_plan.left)) as opened:
        session = Session(
            opened, command, plugins, checkpoint_folder(store), logs=log_folder(store)
        )
        list(session.carry_out(work_plan, settings, watcher))
        return with_floors(
            combine(session.results(work_plan, with_curves=True)), opened.all_calibrations()
        )


def look(
    store: str | Path, trials: Sequence[Trial], settings: LocalSettings, plugins: Plugins, *,
    launches: int = 1, order_seed: int = 0, mode: Mode = "resume", chosen: Collection[str] = (),
) -> WorkPlan:  # fmt: skip
    """Return what is to be measured of ``trials``; a store that is not there yet is not made."""
    from harness_results.store.store import Store

    found = identities(trials, plugins, settings)
    opened = Store.find(store)
    if opened is None:
        return make_work_plan(None, trials, launches, order_seed, found, mode)
    with opened:
        made = make_work_plan(opened.ledger, trials, launches, order_seed, found, mode, chosen)
        known = (
            {record.trial.trial_id for record in opened.launches()}
            if opened.ledger is None
            else set()
        )
    lacking = len(known & found.keys()) if mode != "fresh" else 0
    return replace(made, again={NO_IDENTITY: lacking}) if lacking else made


def _checked(name: str, number: int | None, least: int, most: int) -> int | None:
    if number is not None and not (isinstance(number, int) and least <= number <= most):
        raise UsageError(f"{name} = {number!r}: a whole number from {least} to {most}")
    return number


def sample(
    checkpoint: str | Path,
    *,
    prime: str | None = None,
    length: int = 500,
    temperature: float = 0.8,
    seed: int = 0,
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
    from harness.measure.proof.streams import generator
    from harness.measure.sampling import sample_text
    from harness.measure.setup import text_trainer

    path = Path(checkpoint)
    stored = load(path)
    if stored.vocabulary is None:
        raise UsageError(
            f"{checkpoint} was trained on task {stored.trial.task!r}, which is not text: nothing to sample"
        )
    trainer = text_trainer(load_plugins(), path, stored, stored.vocabulary)
    rng = generator(seed, "sample", str(temperature))
    prime = stored.vocabulary.prime if prime is None else prime
    return sample_text(
        trainer, stored.vocabulary, prime=prime, length=length, temperature=temperature, rng=rng
    )


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
    name = (
        "-".join(part for part in (place.hostname, place.path.strip("/")) if part) or place.scheme
    )
    return Path(f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.{what}").absolute()


def history(store: str | Path) -> list[tuple[Mapping[str, Any], float]]:
    """Return trial and wall seconds of launches that ended ``ok`` on this machine; none where there is no store."""
    from harness_results.store.store import Store

    opened = Store.find(store)
    if opened is None:
        return []
    with opened:
        return opened.ledger.history(machine_id()) if opened.ledger else []


@dataclass
class Session:
    """Measures launches and stores each record as soon as it is there.

    Attributes:
        store: where records go, opened to be written.
        command: what the user typed, kept with the run.
        plugins: as loaded.
        checkpoints: the folder for trained weights, made when it is needed; None: they are not
            kept.
        stop: where a signal handler asks to stop.
        launches: fresh processes that measure each trial, in shuffled rounds over all trials.
        order_seed: shuffles them; kept with the run.
        executor: where the launches run.
        logs: the folder for what workers print, made when it is needed; None: it is not kept.
        run_id: the run in which it measured; None: nothing was left to be measured.
        elsewhere: launches that another process had begun, and has not ended.
    """

    store: Store
    command: str
    plugins: Plugins
    checkpoints: Path | None = None
    stop: StopRequest | None = None
    launches: int = 1
    order_seed: int = 0
    executor: Executor = run_trials
    logs: Path | None = None
    run_id: int | None = field(default=None, init=False)
    elsewhere: int = field(default=0, init=False)

    def measure(
        self, trials: Sequence[Trial], settings: LocalSettings, watcher: Watcher
    ) -> Iterator[Record]:
        """Yield each launch's record after it is stored, of all launches, whatever the store has already.

        Raises:
            StoreError: a record could not be stored; those before it are.
        """
        found = identities(trials, self.plugins, settings)
        everything = make_work_plan(None, trials, self.launches, self.order_seed, found, "fresh")
        yield from self.carry_out(everything, settings, watcher)

    def carry_out(
        self, work_plan: WorkPlan, settings: LocalSettings, watcher: Watcher
    ) -> Iterator[Record]:
        """Yield the record of each launch that is left, after it is stored; a stop request ends this early.

        Raises:
            StoreError: a record could not be stored; those before it are.
        """
        ledger = self.store.ledger
        if not work_plan.left or ledger is None:
            return
        if self.checkpoints is not None:
            _make(self.checkpoints)
        handle = ledger.join(
            self.command, self._settings(work_plan, settings), work_plan.wanted, work_plan.mode
        )
        self.run_id = handle.run_id
        sweeping = SweepSession(ledger, handle, work_plan, self.stop)
        try:
            yield from self._records(sweeping, settings, watcher)
            self.elsewhere = len(sweeping.elsewhere)
        finally:
            with contextlib.suppress(
                StoreError
            ):  # it is the end already, and a driver that is gone is found out
                ledger.leave(handle)

    def _records(
        self, sweeping: SweepSession, settings: LocalSettings, watcher: Watcher
    ) -> Iterator[Record]:
        known = {name: dict(content) for name, content in self.store.all_calibrations().items()}
        settings = replace(
            settings, checkpoints=self.checkpoints, block=self.plugins.blocked, calibrations=known
        )
        settings = replace(settings, keep_logs=self.logs is not None)

        def on_event(trial: Trial, event: Event) -> None:
            watcher.event(trial, event)
            sweeping.heartbeat()

        records = self.executor(
            sweeping.launches(),
            settings=settings,
            on_event=on_event,
            stop=self.stop,
            plugins=self.plugins,
        )
        for told in records:
            record = keep_log(told, self.logs, sweeping.handle.run_id)
            sweeping.add(record)
            self._calibrate(record, known, settings)
            watcher.finish(record)
            yield record

    def results(self, work_plan: WorkPlan, *, with_curves: bool = False) -> list[Record]:
        """Return every launch of the plan's trials, measured now or earlier, in the order of the plan."""
        ledger = self.store.ledger
        if self.run_id is not None:
            return in_order(
                work_plan.trials, self.store.launches(self.run_id, with_curves=with_curves)
            )
        found = [] if ledger is None else ledger.read(work_plan.record_ids, with_curves=with_curves)
        return in_order(work_plan.trials, found)

    def _settings(self, work_plan: WorkPlan, settings: LocalSettings) -> dict[str, Any]:
        pythons = {name: str(python.path) for name, python in settings.pythons.items()}
        order = {
            "launches": work_plan.launches,
            "order_seed": work_plan.order_seed,
            "plan": work_plan.plan,
        }
        places = {"jobs": settings.slots.jobs, "gpus": list(settings.slots.gpus)}
        return {
            **order,
            **places,
            "isolation": settings.isolation,
            "affinity": list(settings.affinity),
            "pythons": pythons,
        }

    def _calibrate(
        self, record: Record, known: dict[str, dict[str, Any]], settings: LocalSettings
    ) -> None:
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
        raise UsageError(
            f"the folder {folder} for checkpoints cannot be written: make it writable, or choose --store"
        )
