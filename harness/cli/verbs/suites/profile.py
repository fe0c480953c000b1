"""``harness profile``: the report of one cell, next to others."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from harness.cli.options.axes import store_option
from harness.cli.options.common import format_option, output_option
from harness.cli.options.types import Named
from harness.plan.options import OPTIONS


@click.command("profile")
@click.argument("cell")
@click.option(
    "--against", type=Named("cells"), multiple=True, help="The cells next to it: lstm,gru."
)
@click.option("--quick", is_flag=True, help="Three seeds, and short launches.")
@click.option(
    "--backend",
    "-b",
    "backends",
    type=Named("backends"),
    multiple=True,
    help="The engines to time.  [default: the fastest of each of NumPy, PyTorch and JAX that is "
    "installed]",
)
@click.option("--seeds", type=click.IntRange(1, 10_000), help="How many seeds, from 0.")
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(1, 4096),
    default=OPTIONS["jobs"].default,
    show_default=True,
    help="Launches at once. What is timed runs alone.",
)
@store_option
@format_option("table", "html", "json", "latex")
@output_option()
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
@click.pass_obj
def command(
    blocked: tuple[str, ...],
    /,
    cell: str,
    against: tuple[tuple[str, ...], ...],
    *,
    quick: bool,
    backends: tuple[tuple[str, ...], ...],
    seeds: int | None,
    jobs: int,
    store: str,
    format_: str,
    output: Path | None,
    quiet: bool,
) -> int:
    """Report what CELL computes, keeps and learns, how fast it is, and the proof.

    It runs the suites profile and speed, and probes of some trained networks. What the store has
    is not measured again: a second call only reports.
    """
    from harness.cli.work.profile import ProfileRun, profile

    run = ProfileRun(
        cells=tuple(dict.fromkeys([cell, *(name for names in against for name in names)])),
        backends=tuple(name for names in backends for name in names),
        seeds=seeds,
        jobs=jobs,
        store=store,
        is_quick=quick,
        is_quiet=quiet,
        blocked=blocked,
    )
    return profile(run, format_, output)
