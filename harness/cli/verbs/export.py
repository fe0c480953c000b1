"""``harness export``: a store as the files of another tool. It only reads."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from harness.cli.main import OK
from harness.cli.options.axes import default_store, run_option
from harness.contract.wording import counted, printable
from harness_results.exporters import TARGETS, exporter
from harness_results.exporters.export import export
from harness_results.store.store import Store


@click.command("export")
@click.argument("store", default=default_store, metavar="[STORE]")
@click.option("--to", "target", type=click.Choice(TARGETS), required=True, help="The tool.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="The folder.",
)
@run_option("Only this run", "all")
def command(store: str, target: str, output: Path, run: str | None) -> int:
    """Write the trials of a STORE for TensorBoard or MLflow: curves, settings, figures, status.

    Each trial that `harness report` shows becomes one run. An earlier export of the same store to
    the same folder is replaced. A folder that holds anything else is refused.

    `harness store export` writes every launch as CSV, JSON Lines or Parquet.
    """
    tool = exporter(target)
    with Store.open(store, create=False) as opened:
        trials = counted(export(opened, tool, output, opened.run_named(run)), "trial")
    click.echo(
        printable(f"{trials} written to {output}. To look: {tool.how_to_look(output)}"), err=True
    )
    return OK
