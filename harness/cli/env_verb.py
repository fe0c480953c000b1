"""``harness env``: this machine's environment record, for bug reports."""

from __future__ import annotations

import json
import sys

import rich_click as click

from harness.cli.main import OK


@click.command("env")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_obj
def command(blocked: tuple[str, ...], format_: str) -> int:
    """Print hardware, libraries, plugins and the variables that matter."""
    from harness.cli.list_verb import ask_availability
    from harness.contract import Available
    from harness.contract.names import printable
    from harness.measure.environment import environment_id, environment_record
    from harness.plugins import load_plugins

    backends = load_plugins(blocked).backends.values()
    usable = [backend for backend in backends if isinstance(ask_availability(backend), Available)]
    record = environment_record(usable)
    content = {"environment_id": environment_id(record), **record}
    if format_ == "json":
        sys.stdout.write(json.dumps(content, indent=2) + "\n")
        return OK
    for name, value in content.items():
        text = json.dumps(value) if isinstance(value, dict | list) else str(value)
        sys.stdout.write(printable(f"{name}: {text}") + "\n")
    return OK
