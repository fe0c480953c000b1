"""``harness completion``: a shell's completion script for verbs, options and names."""

from __future__ import annotations

import rich_click as click
from click.shell_completion import get_completion_class

from harness.cli.main import OK, cli


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print a shell's completion script; bash: `eval "$(harness completion bash)"` in ~/.bashrc."""
    completion = get_completion_class(shell)
    if completion is None:
        raise click.ClickException(f"no completion for {shell}")
    click.echo(completion(cli, {}, "harness", "_HARNESS_COMPLETE").source())
    return OK
