"""The protocol of an executor: every launch that it starts ends in one record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from harness.contract import Record, Trial
from harness.execute.launch import OnEvent
from harness.execute.settings import LocalSettings
from harness.execute.stop import StopRequest
from harness.plugins import Plugins


class Executor(Protocol):
    """Runs launches and yields their records. It never touches the store."""

    def __call__(
        self,
        trials: Iterable[Trial],
        *,
        settings: LocalSettings | None = None,
        on_event: OnEvent | None = None,
        stop: StopRequest | None = None,
        plugins: Plugins | None = None,
    ) -> Iterator[Record]:
        """Yield one record for each launch that was started, as they end.

        Args:
            trials: one entry per launch, taken one by one when there is room to run it.
            settings: limits and directories (which exist).
            on_event: called in this process with each event of a running trial.
            stop: a signal handler requests a stop with it; trials not started then have no record.
            plugins: if they are loaded already.
        """
