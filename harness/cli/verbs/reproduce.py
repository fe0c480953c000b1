"""``harness reproduce``: published set-ups, run as ordinary plans, next to what was published."""

from __future__ import annotations

from typing import Any

import rich_click as click

from harness.cli.options.axes import store_option
from harness.cli.options.common import format_option


@click.command("reproduce")
@click.argument("names", nargs=-1, metavar="[NAME ...]")
@click.option("--all", "all_", is_flag=True, help="Every published result.")
@click.option("--quick", is_flag=True, help="Those of up to 2 minutes; of most one seed.")
@click.option("--list", "list_", is_flag=True, help="Say what each needs; run nothing.")
@click.option("--seeds", type=click.IntRange(1, 10_000), help="Seeds in place of each plan's.")
@click.option("--jobs", type=click.IntRange(1), help="Launches at once, each on its own cores.")
@store_option
@format_option("table", "markdown", "latex", "json", "jsonl")
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
@click.pass_obj
def command(blocked: tuple[str, ...], /, **options: Any) -> int:
    """Run published set-ups, and say whether the published results come out.

    Each is an ordinary plan: what the store has is not measured again. The exit status is 4 if a
    figure is outside its band, else 3 if a trial failed.
    """
    from harness.cli.work.reproduce import reproduce
    from harness.plugins import load_plugins

    return reproduce(load_plugins(blocked), options)
