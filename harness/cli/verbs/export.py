"""``harness export``: a store as the files of another tool. It reads what is stored, and runs nothing."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from harness.cli.main import OK
from harness.cli.options.axes import default_store, run_option
from harness.contract.wording import counted, printable


@click.command("export")
@click.argument("store", default=default_store, metavar="[STORE]")
@click.option(
    "--to", "target", type=click.Choice(["tensorboard", "mlflow"]), required=True, help="The tool."
)
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
    """Write the trials of a STORE as the files of TensorBoard or MLflow: curves, settings, figures, status.

    There is one run for each trial that `harness report` shows. An earlier export of the same store
    to the same folder is replaced; a folder that holds anything else is refused.

    `harness store export` writes every launch as CSV, JSON Lines or Parquet.
    """
    from harness_results.exporters import exporter
    from harness_results.exporters.export import export
    from harness_results.store.store import Store

    form = exporter(target)
    with Store.open(store, create=False) as opened:
        count = export(opened, form, output, opened.run_named(run))
    click.echo(
        printable(
            f"{counted(count, 'trial')} written to {output}. To look: {form.how_to_look(output)}"
        ),
        err=True,
    )
    return OK
