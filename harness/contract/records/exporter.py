"""An exporter: the trials of a report as one file, in a format of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from harness.contract.records.record import Record


class Exporter(ABC):
    """Writes the trials of a report in one format: ``harness report --format NAME``.

    Attributes:
        name: of the format.
        suffixes: of its files, with the dot, the usual one first: ``(".csv",)``.
        with_curves: whether it needs the curves of the records; otherwise they may have none.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    with_curves: ClassVar[bool] = False

    @abstractmethod
    def export(self, records: Sequence[Record], *, per_seed: bool = False) -> str | bytes:
        """Return the content of the file: text, or bytes if the format is not text.

        Args:
            records: one per trial, at least one; a trial of several launches has their medians.
            per_seed: whether a table has a row for each seed; otherwise it may have medians.

        Raises:
            UnavailableError: a library that it needs is not installed.
        """
