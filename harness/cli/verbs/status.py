"""``harness status``: how far the sweeps are that measure into a store now. It only reads."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import rich_click as click

from harness.cli.main import OK
from harness.cli.options.axes import default_store

if TYPE_CHECKING:
    from harness_results.store.drivers import Driver
    from harness_results.store.store import Store


@click.command("status")
@click.argument("store", required=False, default=default_store)
@click.option(
    "--format",
    "-f",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
)
def command(store: str, format_: str) -> int:
    """Say how far the sweeps are that measure into STORE: done, running, failed, left, and when they will end.

    Where the process of one is gone, it says so, and how to go on; where there is none, how the
    last run ended.
    """
    from harness.contract.wording import printable
    from harness_results.store.store import Store

    with Store.open(store, create=False) as opened:
        found = [
            _facts(opened, driver) for driver in (opened.ledger.drivers() if opened.ledger else ())
        ]
        last = _last(opened)
    if format_ == "json":
        sys.stdout.write(json.dumps({"sweeps": found, "last_run": last}) + "\n")
        return OK
    for line in _lines(found, last):
        click.echo(printable(line))
    return OK


def _facts(store: Store, driver: Driver) -> dict[str, Any]:
    commands, alive = {run.run_id: run.command for run in store.runs()}, driver.is_alive
    return {
        "run": driver.run_id, "command": commands.get(driver.run_id, ""), "process": str(driver),
        "alive": alive, "started_at": driver.started_at, "updated_at": driver.updated_at,
        **(driver.progress if alive else _stopped(driver.progress)),
    }  # fmt: skip


def _stopped(progress: Mapping[str, Any]) -> dict[str, Any]:
    """Return how far a driver that is gone had come: what ran then is left, and nothing comes to an end."""
    if "total" not in progress:
        return dict(progress)
    left = progress["left"] + len(progress["running"])
    return {**progress, "running": [], "left": left, "seconds_left": None}


def _last(store: Store) -> dict[str, Any] | None:
    """Return how many launches of the last run (not of a doctor's) ended how, and how many are left."""
    from harness_results.store.ledger import WANTED
    from harness_results.store.members import INTERRUPTED

    runs = [run for run in store.runs() if not run.is_of_doctor]
    if not runs:
        return None
    last = runs[-1]
    statuses = Counter(record.status for record in store.launches(last.run_id))
    wanted = last.settings.get(WANTED)  # None: made before runs knew it
    left = None if wanted is None else max(0, wanted - statuses.total() + statuses[INTERRUPTED])
    return {
        "run": last.run_id, "command": last.command, "started_at": last.started_at, "ended": dict(statuses),
        "wanted": wanted, "left": left,
    }  # fmt: skip


def _lines(found: list[dict[str, Any]], last: Mapping[str, Any] | None) -> Iterator[str]:
    from harness.contract.wording import counted

    for one in found:
        yield from _sweep(one)
    if not found and last is None:
        yield "nothing was measured into this store yet"
    elif not found and last is not None:
        how, left = "", ""
        if last["left"]:
            how = " was interrupted"
            left = f"; {last['left']} of {counted(last['wanted'], 'launch')} left; go on: {_again(last)}"
        which = f"run {last['run']} ({last['command']}) of {last['started_at']}{how}"
        yield f"nothing measures into this store now; {which}:"
        yield f"  {_ended(last['ended'])}{left}"


def _sweep(one: Mapping[str, Any]) -> Iterator[str]:
    from harness.contract.wording import counted
    from harness.sweep.tally import span, troubles

    yield f"run {one['run']}: {one['command']}"
    where = f"{one['process']}, since {one['started_at']}, last heard of {one['updated_at']}"
    yield f"  measures: {where}" if one["alive"] else f"  is gone: {where}; go on: {_again(one)}"
    if "total" not in one:
        return
    ended = sum(one["ended"].values())
    elsewhere = f", {one['elsewhere']} by another process" if one["elsewhere"] else ""
    done = f"{one['taken'] + ended} of {counted(one['total'], 'launch')} done ({troubles(one['ended'])})"
    running = f", {len(one['running'])} running" if one["alive"] else ""
    yield f"  {done}{running}, {one['left']} left{elsewhere}"
    if ended and one["alive"]:
        rate = 3600 * ended / max(one["elapsed_seconds"], 1e-9)
        yield f"  {counted(round(rate), 'launch')} an hour; {span(one['seconds_left'])} to go, as it went so far"
    yield from (f"  runs: {name}" for name in one["running"])
    if one["failure"]:
        yield f"  last failure: {one['failure']}"


def _again(run: Mapping[str, Any]) -> str:
    """Return how to go on with a run: what asked to measure anew would begin another one."""
    asked = [option for option in ("--fresh", "--retry-failed") if option in run["command"].split()]
    return " without ".join(["the same command", *asked])


def _ended(statuses: Mapping[str, int]) -> str:
    return (
        ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in statuses.items())
        or "no launch ended"
    )
