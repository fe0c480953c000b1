"""``harness compare BASE NEW``: a verdict per trial, and an exit status that can fail a build."""

from __future__ import annotations

from typing import Any

import rich_click as click

from harness.cli.options.axes import run_option, store_option
from harness.cli.options.common import ALLOWED_VERDICTS, format_option, output_option
from harness.cli.options.types import Percentage
from harness_results.text.json_text import JSON_FORMATS


@click.command("compare")
@click.argument("base")
@click.argument("new")
@store_option
@click.option(
    "--losses",
    is_flag=True,
    help="Which learns better: validation losses, in pairs of equal seeds.",
)
@click.option(
    "--by",
    metavar="AXIS",
    help="Compare two values of a field of the trials: python, backend, cell, ...",
)
@run_option("With --by: within this run", "last")
@click.option(
    "--fail-on",
    multiple=True,
    metavar="METRIC:5%|METRIC:0.02|cannot-tell",
    help="What may get worse by how much; cannot-tell: a verdict is needed.",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="VERDICT,...",
    help=f"No regression: {', '.join(ALLOWED_VERDICTS)}.",
)
@click.option(
    "--drift",
    type=Percentage(),
    help="Of the machine, between sides not interleaved.  [default: 10%]",
)
@click.option("--allow-mixed", is_flag=True, help="Compare although the environments differ.")
@format_option("table", "markdown", *JSON_FORMATS)
@output_option()
def command(base: str, new: str, **options: Any) -> int:
    """Compare BASE with NEW: two stores, runs of a store, or engines or interpreters of one run.

    A side is a store (PATH, its last run; PATH@3, run 3; PATH@all), a run of --store (3, last,
    last~1), an engine (numpy, torch:fused), with --losses also a cell, or, with --by, any value of
    that field. Speeds are compared by launches, losses by seeds. Exit: 4 on a regression, 5 if
    nothing compares.
    """
    from harness.cli.work.compare import compare_sides
    from harness.cli.work.compare_losses import compare_loss_sides

    work = compare_loss_sides if options["losses"] else compare_sides
    return work(base, new, options)
