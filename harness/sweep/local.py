"""The local executor: trials one after the other, each in a fresh process; every one ends in a record.

No store and no rendering here: the caller gets records as they come, and events through a callback.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from harness.contract import Record, Trial
from harness.measure.events import Event
from harness.plugins import Plugins, load_plugins
from harness.sweep.launch import Launch, OnEvent
from harness.sweep.local_settings import LocalSettings
from harness.sweep.retries import tried
from harness.sweep.stop import StopRequest


def run_trials(
    trials: Iterable[Trial],
    *,
    settings: LocalSettings | None = None,
    on_event: OnEvent | None = None,
    stop: StopRequest | None = None,
    plugins: Plugins | None = None,
) -> Iterator[Record]:
    """Run trials in order and yield one record for each that was started.

    Args:
        trials: what to run.
        settings: limits and directories (which exist).
        on_event: called with each event of the running trial, in this process.
        stop: where a signal handler asks to stop; trials that were not started then have no record.
        plugins: as loaded already; they are asked for the worker's environment.
    """
    settings = settings or LocalSettings()
    plugins = plugins or load_plugins(settings.block)
    settings = replace(settings, block=tuple(dict.fromkeys((*settings.block, *plugins.blocked))))
    with StopRequest() as never:
        waker = stop or never
        for trial in trials:
            if waker.count:
                return
            launch = partial(_launch, trial, settings, on_event or _ignore, waker, plugins)
            yield tried(launch, settings.retries, waker)


def _launch(trial: Trial, settings: LocalSettings, on_event: OnEvent, stop: StopRequest, plugins: Plugins) -> Record:
    return Launch(trial, settings, on_event, stop).run(plugins)


def _ignore(trial: Trial, event: Event) -> None:
    pass
