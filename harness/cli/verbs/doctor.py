"""``harness doctor``: what this machine can do, how noisy it is, and what to do about it."""

from __future__ import annotations

from typing import Any

import rich_click as click

from harness.cli.options import types
from harness.cli.options.axes import store_option
from harness.cli.options.common import format_option


@click.command("doctor")
@click.option(
    "--backend",
    "-b",
    type=types.Named("backends"),
    help="Engines to measure.  [default: all but peers]",
)
@click.option(
    "--launches",
    type=click.IntRange(2, 1000),
    default=5,
    show_default=True,
    help="Of A, and as many of B.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Threads for every backend.",
)
@click.option(
    "--order-seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Shuffles the launches.",
)
@click.option("--dry-run", is_flag=True, help="Look at the machine and measure nothing.")
@format_option("text", "json")
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
@store_option
@click.pass_obj
def command(blocked: tuple[str, ...], /, **options: Any) -> int:
    """Measure the limits and the noise floor of this machine, and say what makes it noisy.

    Every engine runs the same trial as A and as B, in fresh processes, interleaved: any difference
    is noise. The store keeps the floor, and `harness compare` reads it there.
    """
    from harness.cli.work.doctor import examine

    return examine(blocked, options)
