"""Shows the progress of a run on stderr: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
)
from rich.progress import Task as Bar
from rich.table import Column
from rich.text import Text

from harness.contract import Record, Trial
from harness.contract.wording import printable
from harness.measure import events
from harness.plan.naming import line
from harness.sweep.tally import Tally, summary
from harness_results.text.format import number, quantity, ratio

ROOM_FOR_A_BAR = 100  # columns
LEAST_PARTS = 2  # of the line of an ended launch: its name with the status, and its loss
LEAST_TO_SUM_UP = 5  # launches of a sweep
WHOLE_SECONDS = 10.0  # from here on, an elapsed time has no decimals
TELL_SECONDS = 60.0  # between two lines about the whole sweep, without a terminal
_MARKS = {
    "ok": "[green]ok[/]",
    "unsupported": "[yellow]unsupported[/]",
    "interrupted": "[yellow]interrupted[/]",
}


class ProgressView:
    """Shows the running trials and their results; a context manager. Nothing goes to stdout."""

    def __init__(
        self, trials: int, *, reused: int = 0, quiet: bool = False, names: Sequence[str] = ()
    ) -> None:
        # No emoji: ``numpy:loop:`` is not the name of one.
        self._console = Console(stderr=True, highlight=False, quiet=quiet, emoji=False)
        self._tally = Tally(trials, reused=reused, names=names)
        self._reported = time.monotonic()
        self._began = time.monotonic()
        self._running: dict[Trial, tuple[float, TaskID | None]] = {}  # since when, and its line
        self._live = self._console.is_terminal and not quiet
        self._bars = _Bars(
            *self._columns(),
            console=self._console,
            disable=not self._live,
            transient=True,
            auto_refresh=False,  # a thread that wakes up would disturb what is measured
        )

    def _columns(self) -> list[ProgressColumn]:
        bar = [BarColumn(bar_width=12)] if self._console.width >= ROOM_FOR_A_BAR else []
        return [
            TextColumn("{task.description}"),
            *bar,
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            _Figures(),
        ]

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bars.stop()

    def event(self, trial: Trial, event: events.Event) -> None:
        """Show an event of a running trial; the first event begins it."""
        if trial not in self._running:
            self._start(trial)
        _, bar = self._running[trial]
        if isinstance(event, events.Facts):
            for text in _of_snapshots(event.details, trial):
                self.note(f"note: {line(trial, self._tally.names)}: {text}")
        if bar is None:
            return
        if isinstance(event, events.Phase):
            self._bars.update(bar, phase=event.name)
        elif isinstance(event, events.Progress):
            rate = event.tokens / event.seconds if event.seconds > 0 else None
            self._bars.update(
                bar, completed=event.step, phase="train", loss=event.losses[-1], rate=rate
            )
        self._bars.refresh()

    def _start(self, trial: Trial) -> None:
        bar = None
        self._tally.start(trial)
        if self._live:
            self._sum_up()
            number = self._number + len(self._running) + 1
            label = escape(f"[{number}/{self._tally.total}] {line(trial, self._tally.names)}")
            bar = self._bars.add_task(label, total=trial.steps, phase="start", loss=None, rate=None)
        self._running[trial] = (time.monotonic() if self._running else self._began, bar)

    def finish(self, record: Record) -> None:
        """Leave one line about a finished trial."""
        self._tally.end(record)
        # Removed, because the next launch may be of the same trial.
        began, bar = self._running.pop(record.trial, (self._began, None))
        if bar is not None:
            self._bars.remove_task(bar)
        status = _MARKS.get(record.status, f"[red]{record.status}[/]")
        name = line(record.trial, self._tally.names)
        label = escape(f"[{self._number}/{self._tally.total}] {name}")
        elapsed = time.monotonic() - began
        seconds = f"[dim]{elapsed:.{int(elapsed < WHOLE_SECONDS)}f} s[/]"
        parts = [f"{label}  {status}", *map(escape, _outcome(record)), seconds]
        if record.status == "ok" and self._console.is_terminal:
            parts = self._fitting(parts)
        # A terminal would break a soft-wrapped line within words.
        self._console.print("  ".join(parts), soft_wrap=not self._console.is_terminal)
        self._began = time.monotonic()
        self._sum_up()

    def _fitting(self, parts: list[str]) -> list[str]:
        """Return the parts without the last ones that have no room on the line.

        The name, the status and the loss stay; the table has the throughput.
        """
        fitting = list(parts)
        while len(fitting) > LEAST_PARTS:
            if Text.from_markup("  ".join(fitting), emoji=False).cell_len <= self._console.width:
                break
            fitting.pop()
        return fitting

    @property
    def _number(self) -> int:
        """How many launches are done, including those that the store had."""
        return self._tally.reused + self._tally.ended

    def _sum_up(self) -> None:
        """Show the state of the whole sweep: below the running trial, or in a line now and then."""
        if self._tally.total < LEAST_TO_SUM_UP:
            return
        if self._live:
            self._bars.below = f"{self._number}/{self._tally.total} done, {summary(self._tally)}"
            self._bars.refresh()
        elif time.monotonic() - self._reported > TELL_SECONDS and self._tally.left:
            self._reported = time.monotonic()
            self.note(f"{self._number} of {self._tally.total} done: {summary(self._tally)}")

    def note(self, text: str) -> None:
        """Show a message."""
        self._console.print(escape(printable(text)), soft_wrap=True)

    def error(self, text: str) -> None:
        """Show what went wrong, however quiet the view is."""
        quiet, self._console.quiet = self._console.quiet, False
        self.note(f"error: {text}")
        self._console.quiet = quiet


class _Bars(Progress):
    """The running trials, and a line below them."""

    below = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the bars, then the line."""
        yield from super().get_renderables()
        if self.below:
            yield Text(self.below, style="dim")


class _Figures(TextColumn):
    """Phase, loss and throughput of the running trial."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Bar) -> Text:
        """Return the text after the bar."""
        values = task.fields
        if values.get("loss") is None:
            return Text(str(values.get("phase", "")), style="dim")
        rate = f"  {quantity(values['rate'])} tokens/s" if values.get("rate") else ""
        return Text(f"loss {number(values['loss'])}{rate}")


def _of_snapshots(details: Mapping[str, Any], trial: Trial) -> Iterator[str]:
    """Yield from which snapshot a trial goes on, or why from none."""
    if origin := details.get("continued_from"):
        earlier = origin["trial_id"]
        which = "its own snapshot" if earlier == trial.trial_id else earlier
        yield f"continued from {which} at step {origin['step']:,}"
    if reason := details.get("not_continued"):
        yield str(reason)


def _outcome(record: Record) -> list[str]:
    """Return the loss and the throughput, or why the trial failed."""
    if record.status != "ok":
        return [printable(" ".join((record.reason or "").split()))]
    row = record.columns()
    parts = []
    if row["loss_validation"] is not None:
        multiple = "" if row["loss_ratio"] is None else f" ({ratio(row['loss_ratio'])})"
        parts.append(f"loss {number(row['loss_validation'])}{multiple}")
    if row["tokens_per_second"] is not None:
        parts.append(f"{quantity(row['tokens_per_second'])} tokens/s")
    return parts
