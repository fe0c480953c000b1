"""``harness env``: this machine's environment record, for bug reports."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator

import rich_click as click

from harness.cli.main import OK
from harness.cli.options.common import format_option
from harness.contract import Backend, BrokenAnswerError, Missing
from harness.contract.wording import printable
from harness.plugins import load_plugins, query


@click.command("env")
@format_option("text", "json")
@click.pass_obj
def command(blocked: tuple[str, ...], format_: str) -> int:
    """Print hardware, libraries, plugins and the variables that matter."""
    from harness.measure.machine.environment import environment_id, environment_record
    from harness.measure.machine.hardware import conditions

    record = environment_record(_answering(load_plugins(blocked).backends.values()))
    content = {"environment_id": environment_id(record), **record, "conditions": conditions()}
    if format_ == "json":
        sys.stdout.write(json.dumps(content, indent=2) + "\n")
        return OK
    for name, value in content.items():
        text = json.dumps(value) if isinstance(value, dict | list) else str(value)
        sys.stdout.write(printable(f"{name}: {text}") + "\n")
    return OK


def _answering(backends: Iterable[Backend]) -> Iterator[Backend]:
    """Yield the backends that answer; report a broken one on stderr and leave it out."""
    for backend in backends:
        try:
            if isinstance(query.availability(backend), Missing):
                continue
            query.versions(backend)
            query.devices(backend)
            query.environment(backend, 1)
        except BrokenAnswerError as error:
            sys.stderr.write(f"left out: {printable(str(error))}\n")
        else:
            yield backend
