"""Results on stdout or in a file: text, and the tables with a sample of text where there is one."""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.text import Text

from harness.contract import Record, UsageError

PIPE_WIDTH = 120  # where stdout is no terminal
SQLITE_MAGIC = b"SQLite format 3\0"
JOURNAL = (
    "-journal"  # what SQLite adds to the name of a file while it writes, to undo what was half done
)


def stdout_console() -> Console:
    """Return a console on stdout; colours, and another width than ``PIPE_WIDTH``, only on a terminal.

    It keeps to the stdout of now, also while that is sent elsewhere, as what a plugin prints is.
    """
    console = Console(file=sys.stdout, highlight=False)
    return (
        console
        if console.is_terminal
        else Console(file=sys.stdout, highlight=False, width=PIPE_WIDTH)
    )


def file_console(file: IO[str]) -> Console:
    """Return a console on a file: what a pipe gets, whatever the surroundings ask of terminals."""
    return Console(
        file=file, highlight=False, width=PIPE_WIDTH, color_system=None, force_terminal=False
    )


def write_text(text: str, output: Path | None) -> None:
    """Write ``text`` to a file, or to stdout.

    Raises:
        UsageError: the file cannot be written, or is a store.
    """
    with written(output) as file:
        file.write(text)


@contextmanager
def written(output: Path | None, *, binary: bool = False) -> Iterator[IO[Any]]:
    """Give stdout (for None or ``-``), or a file that takes its name when it is complete; a device or pipe as it is.

    Raises:
        UsageError: the file cannot be written, or is a store.
    """
    if output is None or str(output) == "-":
        yield sys.stdout.buffer if binary else sys.stdout
        return
    if output.is_dir():  # so is the empty name, of a variable that was never set
        raise UsageError(f"{output} is a directory: name a file with --output")
    options = {"mode": "wb"} if binary else {"mode": "w", "encoding": "utf-8", "newline": ""}
    try:
        place = output.resolve() if output.is_symlink() else output
        _check_no_store(place)
        if place.exists() and not place.is_file():
            with place.open(**options) as file:  # type: ignore[call-overload]
                yield file
            return
        part = place.with_name(f".{secrets.token_hex(8)}.part")  # of a name that nothing else has
        try:
            with part.open(**options) as file:  # type: ignore[call-overload]
                yield file
            if place.exists():
                shutil.copymode(place, part)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write {output}: {error.strerror}; choose another --output"
        ) from error


def _check_no_store(place: Path) -> None:
    for database in (place, place.with_name(place.name.removesuffix(JOURNAL) or place.name)):
        if _is_database(database):
            what = "a database" if database == place else f"the journal of the database {database}"
            raise UsageError(
                f"{place} is {what}, and would be overwritten; choose another --output"
            )


def _is_database(place: Path) -> bool:
    if not place.is_file():
        return False
    with place.open("rb") as file:
        return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC


def print_results(records: Sequence[Record], console: Console) -> None:
    """Print the tables of these records and one sample of text per network that wrote one."""
    from harness_results.render.terminal import rich_table
    from harness_results.study.samples import texts, worth_showing

    console.print(rich_table(records))
    for record in worth_showing(records):
        trial, samples = record.trial, texts(record.details)
        temperature, text = samples[len(samples) // 2]
        python = f" python={trial.python}" if trial.python else ""
        title = f"sample: {trial.task} {trial.cell} T={trial.length} {trial.engine}{python}, temperature {temperature}"
        console.print()
        console.print(Text(title, style="bold"))
        console.print(Text(text), soft_wrap=True)
