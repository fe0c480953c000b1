"""``harness show``: one trial in full."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import rich_click as click

from harness.cli.main import OK
from harness.cli.options.axes import store_option
from harness.cli.options.common import format_option
from harness.cli.options.trial_id import not_empty
from harness.cli.output.results import stdout_console
from harness.contract import Record
from harness.sweep.folders import log_folder
from harness.sweep.logs import read_log
from harness_results.render.show import show_record
from harness_results.store.store import Store
from harness_results.study.launches import combine
from harness_results.text.format import safe


@click.command("show")
@click.argument("trial", callback=not_empty)
@store_option
@format_option("table", "json")
@click.option("--all", "all_", is_flag=True, help="Everything that is known about it.")
@click.option("--log", is_flag=True, help="Only what its workers printed.")
def command(trial: str, store: str, format_: str, *, all_: bool, log: bool) -> int:
    """Show a TRIAL (id, first digits or last): its curves and main figures; --all: everything."""
    with Store.open(store, create=False) as opened:
        launches = opened.launches_of(trial)
    if log:
        sys.stdout.writelines(_logs(launches, log_folder(store)))
        return OK
    (record,) = combine(launches)
    if format_ == "json":
        sys.stdout.write(json.dumps(record.to_json(), allow_nan=False) + "\n")
    else:
        stdout_console().print(show_record(record, whole=all_))
    return OK


def _logs(launches: list[Record], folder: Path | None) -> Iterator[str]:
    """Yield what each launch printed; if there are several, below a line for each."""
    for number, record in enumerate(launches, start=1):
        if len(launches) > 1:
            yield f"launch {number} of {len(launches)}: {record.status}\n"
        text = safe(read_log(record, folder)).rstrip("\n")
        yield f"{text}\n" if text else "(nothing was printed)\n"
