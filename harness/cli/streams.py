"""stdout and stderr that accept any text, even after the terminal has hung up."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def prepare() -> None:
    """Replace stdout and stderr if they would fail.

    Characters that the encoding lacks are escaped. A closed stream, or a terminal that has hung
    up, discards everything: a run goes on until the signal of the hang-up arrives.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            if stream.isatty() and os.name == "posix":
                setattr(sys, name, _of_terminal(stream))


def note(text: str) -> None:
    """Write a note to stderr. Control characters are escaped."""
    from harness.contract.wording import printable

    click.echo(printable(f"note: {text}"), err=True)


class _Terminal(io.FileIO):
    """A terminal that discards everything after a hang-up (Linux answers EIO)."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return memoryview(data).nbytes


def _of_terminal(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    stream.flush()
    raw = io.BufferedWriter(_Terminal(stream.fileno(), "w", closefd=False))
    encoding, errors = stream.encoding, stream.errors
    return io.TextIOWrapper(raw, encoding=encoding, errors=errors, line_buffering=True)
