"""``harness show``: one trial in full."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import rich_click as click

from harness.cli.main import OK
from harness.cli.options import store_option
from harness.cli.trial_id import not_empty
from harness.contract import Record


@click.command("show")
@click.argument("trial", callback=not_empty)
@store_option
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(trial: str, store: str, format_: str) -> int:
    """Show a TRIAL (its id, or the first digits): figures, curves, samples, environment, the log of a failure."""
    from harness.cli.output import stdout_console
    from harness_results.show import show_record

    record = _read(trial, store)
    if format_ == "json":
        sys.stdout.write(json.dumps(record.to_json(), allow_nan=False) + "\n")
    else:
        stdout_console().print(show_record(record))
    return OK


def _read(trial: str, store: str) -> Record:
    """Return the record over all launches of the latest run, with the curves of the last launch."""
    from harness_results.launches import combine
    from harness_results.store import Store

    with Store.open(store, create=False) as opened:
        last = opened.record(trial)
        launches = [record for record in opened.launches() if record.trial == last.trial]
    return combine(replace(record, curves=last.curves) for record in launches)[0]
