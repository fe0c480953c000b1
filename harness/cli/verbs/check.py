"""``harness check``: the conformance kit on installed backends, without pytest."""

from __future__ import annotations

from typing import Any

import rich_click as click

from harness.cli.options.types import WORDS, Named


@click.command("check")
@click.option(
    "--backend",
    "-b",
    "names",
    type=Named("backends"),
    multiple=True,
    help="Only these.  [default: all]",
)
@click.option(
    "--cell", "-c", "cells", type=Named("cells"), multiple=True, help="Only these.  [default: all]"
)
@click.option(
    "--task", "-t", "tasks", type=Named("tasks"), multiple=True, help="These tasks, and no backend."
)
@click.option(
    "--variant", "variants", type=WORDS, multiple=True, help="Only these variants.  [default: all]"
)
@click.option(
    "--grid",
    type=click.Choice(["few", "cover", "full", "none"]),
    help="Shapes at which to compare: a dozen in which all pairs of sizes meet (cover), all, or "
    "none. With few, a variant that compiles runs the checks of the cell alone, at two shapes.  "
    "[default: few with --cell, else cover]",
)
@click.option("--verbose", "-v", is_flag=True, help="Show every check, not only those that fail.")
@click.pass_obj
def command(blocked: tuple[str, ...], /, **options: Any) -> int:
    """Prove that a backend computes the reference's function, for every cell and variant.

    With --task: check batches, baseline and score of tasks instead.

    First each cell by itself: its trace, and its gradient against finite differences. Then shapes,
    loss, every gradient tensor, optimizer steps, carried state, masks, aliasing, determinism, and
    whether the backend waits for its own work. Exit status 3 if a check fails; 2
    if all pass, but a named variant or cell did not run, or nothing at all.
    """
    from harness.cli.work.check import check_backends, check_tasks

    return check_tasks(blocked, options) if options["tasks"] else check_backends(blocked, options)
