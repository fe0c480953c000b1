"""``harness show``: one trial in full."""

from __future__ import annotations

import json
import sys

import rich_click as click

from harness.cli.main import OK
from harness.cli.options import store_option
from harness.cli.trial_id import not_empty


@click.command("show")
@click.argument("trial", callback=not_empty)
@store_option
@click.option("--format", "format_", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(trial: str, store: str, format_: str) -> int:
    """Show a TRIAL (its id, or the first digits): figures, curves, samples, environment, the log of a failure."""
    from harness.cli.output import stdout_console
    from harness_results.launches import combine
    from harness_results.show import show_record
    from harness_results.store import Store

    with Store.open(store, create=False) as opened:
        (record,) = combine(opened.launches_of(trial))
    if format_ == "json":
        sys.stdout.write(json.dumps(record.to_json(), allow_nan=False) + "\n")
    else:
        stdout_console().print(show_record(record))
    return OK
