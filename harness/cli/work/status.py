"""The work of ``harness status``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import rich_click as click

from harness.cli.main import OK
from harness.contract.wording import counted, printable
from harness.sweep.tally import span, troubles
from harness_results.store.drivers import Driver
from harness_results.store.ledger import WANTED
from harness_results.store.members import INTERRUPTED
from harness_results.store.store import Store

Sweep = Mapping[str, Any]


def print_status(location: str, format_: str) -> int:
    """Print the progress of each sweep into a store, or how the last run ended."""
    with Store.open(location, create=False) as store:
        drivers = store.ledger.drivers() if store.ledger else ()
        sweeps = [_sweep(store, driver) for driver in drivers]
        last = _last_run(store)
    if format_ == "json":
        sys.stdout.write(json.dumps({"sweeps": sweeps, "last_run": last}) + "\n")
        return OK
    for line in _lines(sweeps, last):
        click.echo(printable(line))
    return OK


def _sweep(store: Store, driver: Driver) -> dict[str, Any]:
    commands = {run.run_id: run.command for run in store.runs()}
    return {
        "run": driver.run_id,
        "command": commands.get(driver.run_id, ""),
        "process": str(driver),
        "alive": driver.is_alive,
        "started_at": driver.started_at,
        "updated_at": driver.updated_at,
        **(driver.progress if driver.is_alive else _stopped(driver.progress)),
    }


def _stopped(progress: Mapping[str, Any]) -> dict[str, Any]:
    """Return the progress of a dead driver: its running launches count as left."""
    if "total" not in progress:
        return dict(progress)
    left = progress["left"] + len(progress["running"])
    return {**progress, "running": [], "left": left, "seconds_left": None}


def _last_run(store: Store) -> dict[str, Any] | None:
    """Return the launches of the last run by status, and how many are left.

    Runs of ``harness doctor`` do not count.
    """
    runs = [run for run in store.runs() if not run.is_of_doctor]
    if not runs:
        return None
    last = runs[-1]
    statuses = Counter(record.status for record in store.launches(last.run_id))
    wanted = last.settings.get(WANTED)  # None: a run of an older version
    left = None if wanted is None else max(0, wanted - statuses.total() + statuses[INTERRUPTED])
    return {
        "run": last.run_id,
        "command": last.command,
        "started_at": last.started_at,
        "ended": dict(statuses),
        "wanted": wanted,
        "left": left,
    }


def _lines(sweeps: Sequence[Sweep], last: Mapping[str, Any] | None) -> Iterator[str]:
    for sweep in sweeps:
        yield from _sweep_lines(sweep)
    if sweeps:
        return
    if last is None:
        yield "nothing was measured into this store yet"
        return
    end = " was interrupted" if last["left"] else ""
    run = f"run {last['run']} ({last['command']}) of {last['started_at']}{end}"
    yield f"nothing measures into this store now; {run}:"
    left = ""
    if last["left"]:
        launches = counted(last["wanted"], "launch")
        left = f"; {last['left']} of {launches} left; go on: {_continuation(last)}"
    yield f"  {_ended(last['ended'])}{left}"


def _sweep_lines(sweep: Sweep) -> Iterator[str]:
    yield f"run {sweep['run']}: {sweep['command']}"
    times = f"since {sweep['started_at']}, last heard of {sweep['updated_at']}"
    process = f"{sweep['process']}, {times}"
    if sweep["alive"]:
        yield f"  measures: {process}"
    else:
        yield f"  is gone: {process}; go on: {_continuation(sweep)}"
    if "total" not in sweep:
        return
    ended = sum(sweep["ended"].values())
    launches = counted(sweep["total"], "launch")
    done = f"{sweep['taken'] + ended} of {launches} done ({troubles(sweep['ended'])})"
    running = f", {len(sweep['running'])} running" if sweep["alive"] else ""
    elsewhere = f", {sweep['elsewhere']} by another process" if sweep["elsewhere"] else ""
    yield f"  {done}{running}, {sweep['left']} left{elsewhere}"
    if ended and sweep["alive"]:
        rate = counted(round(3600 * ended / max(sweep["elapsed_seconds"], 1e-9)), "launch")
        yield f"  {rate} an hour; {span(sweep['seconds_left'])} to go at the rate so far"
    yield from (f"  runs: {name}" for name in sweep["running"])
    if sweep["failure"]:
        yield f"  last failure: {sweep['failure']}"


def _continuation(run: Mapping[str, Any]) -> str:
    """Return how to continue a run: without the options that would begin a new run."""
    words = run["command"].split()
    anew = [option for option in ("--fresh", "--retry-failed") if option in words]
    return " without ".join(["the same command", *anew])


def _ended(statuses: Mapping[str, int]) -> str:
    counts = [f"{count} {status.replace('_', ' ')}" for status, count in statuses.items()]
    return ", ".join(counts) or "no launch ended"
