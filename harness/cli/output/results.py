"""Results on stdout or in a file: text, tables and samples of text."""

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

PIPE_WIDTH = 120  # if stdout is not a terminal
SQLITE_MAGIC = b"SQLite format 3\0"
JOURNAL = "-journal"  # SQLite adds it to a file's name during a write


def stdout_console() -> Console:
    """Return a console on the current stdout, ``PIPE_WIDTH`` wide without colour off a terminal.

    It keeps this stdout even if stdout is redirected later, as the output of plugins is.
    """
    console = Console(file=sys.stdout, highlight=False)
    if console.is_terminal:
        return console
    return Console(file=sys.stdout, highlight=False, width=PIPE_WIDTH)


def file_console(file: IO[str]) -> Console:
    """Return a console on a file, which gets what a pipe gets."""
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
    """Open stdout (None or ``-``) or a file for writing. A file gets its name when it is complete.

    Raises:
        UsageError: the file cannot be written, or is a store.
    """
    if output is None or str(output) == "-":
        yield sys.stdout.buffer if binary else sys.stdout
        return
    if output.is_dir():  # the empty name, of an unset variable, is one too
        raise UsageError(f"{output} is a directory: name a file with --output")
    options = {"mode": "wb"} if binary else {"mode": "w", "encoding": "utf-8", "newline": ""}
    try:
        path = output.resolve() if output.is_symlink() else output
        _check_no_store(path)
        if path.exists() and not path.is_file():  # a device or a pipe
            with path.open(**options) as file:  # type: ignore[call-overload]
                yield file
            return
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            with part.open(**options) as file:  # type: ignore[call-overload]
                yield file
            if path.exists():
                shutil.copymode(path, part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        problem = f"cannot write {output}: {error.strerror}"
        raise UsageError(f"{problem}; choose another --output") from error


def _check_no_store(path: Path) -> None:
    for database in (path, path.with_name(path.name.removesuffix(JOURNAL) or path.name)):
        if _is_database(database):
            what = "a database" if database == path else f"the journal of the database {database}"
            raise UsageError(f"{path} is {what}, and would be overwritten; choose another --output")


def _is_database(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC


def print_results(records: Sequence[Record], console: Console, *, per_seed: bool = False) -> None:
    """Print the tables of these records and one sample of text per network that wrote one."""
    from harness_results.render.terminal import rich_table
    from harness_results.study.samples import texts, worth_showing

    console.print(rich_table(records, per_seed=per_seed))
    for record in worth_showing(records):
        trial, samples = record.trial, texts(record.details)
        temperature, text = samples[len(samples) // 2]
        python = f" python={trial.python}" if trial.python else ""
        network = f"{trial.task} {trial.cell} T={trial.length} {trial.engine}{python}"
        title = f"sample: {network}, temperature {temperature}"
        console.print()
        console.print(Text(title, style="bold"))
        console.print(Text(text), soft_wrap=True)
