"""The local executor: one trial after the other, or several at once.

It knows no store and renders nothing. The caller gets records as they come, and events through a
callback.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from harness.contract import Record, Trial
from harness.execute.concurrent import AtOnce
from harness.execute.launch import Launch, OnEvent, ignore
from harness.execute.memory_watch import MemoryWatch
from harness.execute.retries import tried
from harness.execute.settings import LocalSettings
from harness.execute.stop import StopRequest
from harness.execute.workers import Workers
from harness.measure import ISOLATIONS
from harness.plugins import Plugins, load_plugins


def run_trials(
    trials: Iterable[Trial],
    *,
    settings: LocalSettings | None = None,
    on_event: OnEvent | None = None,
    stop: StopRequest | None = None,
    plugins: Plugins | None = None,
) -> Iterator[Record]:
    """Run trials in order and yield one record for each that was started, as they end.

    The arguments are those of ``Executor``.
    """
    settings = settings or LocalSettings()
    plugins = plugins or load_plugins(settings.block)
    settings = replace(settings, block=tuple(dict.fromkeys((*settings.block, *plugins.blocked))))
    warm = settings.isolation != ISOLATIONS[0]
    with StopRequest() as never, Workers(warm=warm) as workers:
        run = partial(_run, plugins, MemoryWatch(settings.memory_limit_bytes), workers)
        if settings.slots.jobs > 1:
            yield from AtOnce(run, settings, on_event or ignore, stop or never).records(trials)
            return
        for trial in trials:
            if stop is not None and stop.count:
                return
            yield run(trial, settings.on_first_gpu(trial), on_event or ignore, stop or never)


def _run(
    plugins: Plugins, memory: MemoryWatch, workers: Workers,
    trial: Trial, settings: LocalSettings, on_event: OnEvent, stop: StopRequest,
) -> Record:  # fmt: skip
    def launch() -> Record:
        return Launch(trial, settings, on_event, stop, memory=memory, workers=workers).run(plugins)

    return tried(launch, settings.retries, stop)
