"""``harness probe``: what probes measure of a trained network, from its checkpoint."""

from __future__ import annotations

import json
import sys

import rich_click as click

from harness.api import probe
from harness.cli import streams
from harness.cli.main import NOT_OK, OK
from harness.cli.options.axes import store_option
from harness.cli.options.common import format_option
from harness.cli.options.trial_id import not_empty
from harness.cli.output.results import stdout_console
from harness_results.text.facts import section
from harness_results.text.format import number, one_line


@click.command("probe")
@click.argument("trial", callback=not_empty)
@click.argument("names", metavar="[NAME,...]", default="all")
@store_option
@format_option("table", "json")
def command(trial: str, names: str, store: str, format_: str) -> int:
    """Measure the network that TRIAL (id, first digits, last, .safetensors file) trained.

    NAME: the probes; all of them by default (harness list probes). Nothing is trained again. The
    store keeps what they measure beside the trial.
    """
    results = probe(trial, names, store=store)
    if format_ == "json":
        sys.stdout.write(json.dumps(results, allow_nan=False) + "\n")
    else:
        console = stdout_console()
        for name, result in results.items():
            values = result.get("figures", {}).items()
            for line in section(name, {figure: number(value) for figure, value in values}):
                console.print(line)
    failures = [(name, result["failed"]) for name, result in results.items() if "failed" in result]
    for name, reason in failures:
        streams.note(f"probe {name} failed: {one_line(reason)}")
    return NOT_OK if failures else OK
