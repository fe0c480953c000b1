"""``harness new``: start a plugin package."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from harness.cli.main import OK


@click.command("new")
@click.argument("kind", type=click.Choice(["backend", "task", "cell", "probe", "exporter"]))
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where the package goes.",
)
def command(kind: str, name: str, directory: Path) -> int:
    """Write a small package that installs with pip, runs, and passes its conformance tests."""
    from harness.scaffold import create

    package = create(kind, name, directory)
    click.echo(f"wrote {package}")
    click.echo(f"next:  pip install -e {package}")
    check = {
        "backend": f"harness check --backend {name}",
        "task": f"harness run --task {name}",
        "cell": f"harness run --cell {name}",
        "probe": f"harness run --task adding --probe {name} --tables probes",
        "exporter": f"harness report --format {name}",
    }[kind]
    click.echo(f"       {check}")
    click.echo(f"       python -m pytest {package}")
    return OK
