"""``harness report --serve``: the page of stores on a loopback address, until Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import rich_click as click
from click import get_current_context
from click.core import ParameterSource

from harness.cli.main import OK
from harness.cli.output.pages import names_of
from harness.contract import Record
from harness.contract.wording import printable
from harness_results.serving.page import live_page
from harness_results.serving.server import Server
from harness_results.serving.watched import Watched, digest_of
from harness_results.study.launches import latest

APART = {
    "format_": "--format",
    "output": "--output",
    "relative": "--relative",
    "best_of": "--best-of",
    "chart": "--chart",
}


def check_alone(*, serve: bool) -> None:
    """Refuse options of the current command that would have no effect."""
    context = get_current_context()
    if not serve:
        raise click.UsageError("--port is the port of --serve: add --serve")
    for name, option in APART.items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--serve and {option} exclude each other")


def serve_report(
    stores: Sequence[str],
    read: Callable[[str], list[Record]],
    choose: Callable[[list[Record]], list[Record]],
    port: int | None,
    title: str | None,
    *,
    per_seed: bool,
) -> int:
    """Serve the page of the chosen records, built again when a store has changed."""
    names = names_of(stores)

    def build(digest: str) -> str:
        records = latest(record for store in stores for record in read(store))
        shown = choose(records) if records else records
        return live_page(shown, names, digest, title, per_seed=per_seed)

    watched = Watched(lambda: digest_of(stores), build)
    watched.page()  # errors appear here, not in a browser
    with Server(watched, port or 0) as server:
        click.echo(printable(f"the report of {names} is at {server.url} until Ctrl-C"), err=True)
        with _readers_that_leave():
            server.serve_until_interrupted()
    return OK


@contextmanager
def _readers_that_leave() -> Iterator[None]:
    """Let a browser leave during an answer: that answer fails, and this process goes on."""
    number = getattr(signal, "SIGPIPE", None)
    if number is None:
        yield
        return
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)
