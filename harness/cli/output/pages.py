"""``harness report -f html``: the page of a report, in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.cli.output.results import write_text
from harness.contract import Record, UsageError
from harness_results.page.build import page
from harness_results.page.units import Units
from harness_results.text.passwords import without_password


def check_page(format_: str, output: Path | None, title: str | None = None) -> bool:
    """Say whether the options ask for the page. Nothing is read yet.

    Raises:
        UsageError: a terminal would get the page, or a title is of no page.
    """
    if title is not None and format_ != "html":
        raise UsageError("--title is the title of the page: add --format html, or --serve")
    if format_ != "html":
        return False
    if output is None and sys.stdout.isatty():
        raise UsageError(
            "a page is for a browser, not for a terminal: write it to a file with --output "
            "report.html"
        )
    return True


def write_page(
    records: Sequence[Record],
    stores: Iterable[str],
    output: Path | None,
    title: str | None,
    units: Units,
    *,
    per_seed: bool,
) -> None:
    """Write the page of these records to a file, or to stdout.

    Raises:
        UnavailableError: a library that the page needs is not installed.
        UsageError: the file cannot be written.
    """
    write_text(page(records, title, units, names_of(stores), per_seed=per_seed), output)


def names_of(stores: Iterable[str]) -> str:
    """Return the names of the stores' files, or their URLs without passwords."""
    return ", ".join(
        without_password(store) if "://" in store else Path(store).name for store in stores
    )
