"""Several launches at once, one thread each, which sleeps until its worker tells something; callbacks stay in one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from queue import SimpleQueue

from harness.contract import Record, Trial
from harness.execute.launch import OnEvent
from harness.execute.settings import LocalSettings
from harness.execute.slots import Slots, needs_gpu
from harness.execute.stop import StopRequest
from harness.measure.events import Event

Run = Callable[[Trial, LocalSettings, OnEvent, StopRequest], Record]


@dataclass
class AtOnce:
    """Runs launches in their slots.

    The caller's thread alone takes trials, calls ``on_event`` and yields records; it sleeps on a
    queue meanwhile.

    Attributes:
        run: runs one launch to its end, in a thread.
        settings: of every launch, but for its place; ``settings.slots`` says how many may run at
            once, and where.
        on_event: called in the caller's thread.
        stop: where a signal handler asks to stop.
    """

    run: Run
    settings: LocalSettings
    on_event: OnEvent
    stop: StopRequest
    _told: SimpleQueue[tuple[Trial, Event] | int] = field(default_factory=SimpleQueue)
    _running: dict[int, Future[Record]] = field(default_factory=dict)
    _gpu_of: dict[int, str] = field(default_factory=dict)

    @property
    def slots(self) -> Slots:
        """Where launches run."""
        return self.settings.slots

    def records(self, trials: Iterable[Trial]) -> Iterator[Record]:
        """Yield the records as launches end; whoever stops listening ends those that run."""
        waiting, following = iter(trials), None
        with ExitStack() as stack:
            stops = [stack.enter_context(self.stop.follower()) for _ in range(self.slots.jobs)]
            threads = stack.enter_context(ThreadPoolExecutor(self.slots.jobs, "launch"))
            stack.callback(_end_all, stops)
            while True:
                while len(self._running) < self.slots.jobs and not self.stop.count:
                    following = following or next(
                        waiting, None
                    )  # taken no earlier than there is room
                    if following is None or not self._finds_card(following):
                        break
                    self._start(following, threads, stops)
                    following = None
                if not self._running:
                    return
                told = self._told.get()
                if isinstance(told, int):
                    self._gpu_of.pop(told, None)
                    yield self._running.pop(told).result()
                else:
                    self.on_event(*told)

    def _finds_card(self, trial: Trial) -> bool:
        return not needs_gpu(trial) or self._free_gpu() is not None

    def _free_gpu(self) -> str | None:
        return next((gpu for gpu in self.slots.gpus if gpu not in self._gpu_of.values()), None)

    def _start(self, trial: Trial, threads: ThreadPoolExecutor, stops: list[StopRequest]) -> None:
        number = next(number for number in range(self.slots.jobs) if number not in self._running)
        gpu = self._free_gpu() if needs_gpu(trial) else None
        if gpu is not None:
            self._gpu_of[number] = gpu
        affinity = self.slots.processors_of(number, trial)
        settings = replace(self.settings, affinity=affinity or self.settings.affinity, gpu=gpu)
        future = threads.submit(self.run, trial, settings, self._tell, stops[number])
        self._running[number] = future
        future.add_done_callback(lambda _: self._told.put(number))

    def _tell(self, trial: Trial, event: Event) -> None:
        self._told.put((trial, event))


def _end_all(stops: list[StopRequest]) -> None:
    for stop in (*stops, *stops):
        stop.request()
