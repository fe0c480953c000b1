"""``harness status``: the progress of the sweeps that write to a store now. It only reads."""

from __future__ import annotations

import rich_click as click

from harness.cli.options.axes import default_store
from harness.cli.options.common import format_option


@click.command("status")
@click.argument("store", required=False, default=default_store)
@format_option("text", "json")
def command(store: str, format_: str) -> int:
    """Show the progress of the sweeps into STORE: done, running, failed, left, and when they end.

    If the process of a sweep has died, it says so, and how to continue. Without a sweep, it says
    how the last run ended.
    """
    from harness.cli.work.status import print_status

    return print_status(store, format_)
