"""``harness doctor``: what this machine can do, how much it scatters, and what to do about it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from harness.cli import streams
from harness.cli.main import INTERRUPTED, NOT_OK, OK
from harness.cli.options import types
from harness.cli.options.axes import store_option
from harness.contract import Missing, Record, Trial

if TYPE_CHECKING:
    from harness.plugins import Plugins

LAUNCHES = (5, 10)  # of comparisons to come, for which the floor is told


@click.command("doctor")
@click.option(
    "--backend",
    "-b",
    type=types.Named("backends"),
    help="Engines to measure.  [default: all but peers]",
)
@click.option(
    "--launches",
    type=click.IntRange(2, 1000),
    default=5,
    show_default=True,
    help="Of A, and as many of B.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Threads for every backend.",
)
@click.option(
    "--order-seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Shuffles the launches.",
)
@click.option("--dry-run", is_flag=True, help="Look at the machine and measure nothing.")
@click.option(
    "--format",
    "-f",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
)
@click.option("--quiet", "-q", is_flag=True, help="No progress on stderr.")
@store_option
@click.pass_obj
def command(blocked: tuple[str, ...], /, **options: Any) -> int:
    """Measure the limits and the noise floor of this machine, and say what makes it noisy.

    Every engine runs the same trial as A and as B, in fresh processes, interleaved: what differs is
    noise. The floor is kept in the store, where `harness compare` finds it.
    """
    from harness.plan.noise import same_trials
    from harness.plugins import load_plugins

    plugins = load_plugins(blocked)
    report: dict[str, Any] = {"machine": _machine(), "backends": _backends(plugins)}
    trials, notes = same_trials(
        options["backend"] or _engines_here(report, plugins), options["threads"], plugins
    )
    for note in notes:
        streams.note(note)
    launches, interrupted = (
        ([], False) if options["dry_run"] else _measure(trials, plugins, options)
    )
    if interrupted:
        return INTERRUPTED
    report["engines"] = _engines(trials, launches, options)
    report["concerns"] = _concerns(report, options)
    _print(report, options["format_"])
    return OK if all(record.status == "ok" for record in launches) else NOT_OK


def _machine() -> dict[str, Any]:
    from harness.measure.machine.environment import environment_id, environment_record
    from harness.measure.machine.hardware import conditions

    record = environment_record()
    facts = ("cpu", "cores", "memory_gibibytes", "system", "settings", "gpus")
    return {
        "environment_id": environment_id(record),
        **{name: record[name] for name in facts},
        **conditions(),
    }


def _backends(plugins: Plugins) -> list[dict[str, Any]]:
    from harness.plugins import query

    rows = []
    for backend in plugins.backends.values():
        answer = query.available_or_missing(backend)
        missing = f"{answer.reason}. Fix: {answer.fix}" if isinstance(answer, Missing) else None
        rows.append(
            {
                "name": backend.name,
                "groups": backend.groups,
                "usable": missing is None,
                "reason": missing,
            }
        )
    return rows + [
        {"name": one.name, "groups": (), "usable": False, "reason": f"broken: {one.reason}"}
        for one in plugins.broken
    ]


def _engines_here(report: Mapping[str, Any], plugins: Plugins) -> list[str]:
    """Return the backends that can run here, but for peers; of one whose answers make no plan the report says why."""
    from harness.contract import HarnessError
    from harness.plan.noise import same_trials

    rows = [row for row in report["backends"] if row["usable"] and not row["groups"]]
    for row in rows:
        try:
            same_trials((row["name"],), 1, plugins)
        except HarnessError as error:
            row |= {"usable": False, "reason": str(error)}
    return [row["name"] for row in rows if row["usable"]] or [
        row["name"] for row in rows
    ]  # where none does, they fail


def _measure(
    trials: Sequence[Trial], plugins: Plugins, options: Mapping[str, Any]
) -> tuple[list[Record], bool]:
    """Return the records of every launch, kept in the store with the noise floors, and whether a signal ended it."""
    from harness.api import Session
    from harness.cli.signals import stopping_on_signals
    from harness.execute.settings import LocalSettings
    from harness.plan.noise import split
    from harness.progress import ProgressView
    from harness_results.store.runs import DOCTOR
    from harness_results.store.store import Store

    rounds, seed = 2 * options["launches"], options["order_seed"]
    with (
        Store.open(options["store"]) as store,
        ProgressView(rounds * len(trials), quiet=options["quiet"]) as view,
    ):
        with stopping_on_signals(view.note) as stop:
            session = Session(store, DOCTOR, plugins, stop=stop, launches=rounds, order_seed=seed)
            launches = list(session.measure(trials, LocalSettings(), view))
        for trial in trials if not stop.count else ():
            mine = [record for record in launches if record.trial == trial]
            if all(record.figures.get("step_seconds_median") for record in mine):
                a, b = split(mine, seed)
                content = {
                    "seconds_per_step_a": a,
                    "seconds_per_step_b": b,
                    "trial": trial.content(),
                }
                store.calibrate(str(mine[0].environment_id), f"noise/{trial.engine}", content)
    return launches, bool(stop.count)


def _engines(
    trials: Sequence[Trial], launches: Sequence[Record], options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    from statistics import median

    from harness.plan.noise import split
    from harness_results.study.verdicts.statistics import noise_floor

    rows = []
    for trial in trials:
        mine = [record for record in launches if record.trial == trial]
        row: dict[str, Any] = {"engine": trial.engine}
        failed = [record for record in mine if not record.figures.get("step_seconds_median")]
        if failed:
            row["reason"] = failed[0].reason
        elif mine:
            a, b = split(mine, options["order_seed"])
            peaks = [
                record.details.get("limits", {}).get("peak_flops_per_second") for record in mine
            ]
            row |= {"step_seconds": median([*a, *b]), "a_to_b": median(a) / median(b) - 1}
            row["floors"] = {str(n): noise_floor(a, b, n) for n in LAUNCHES}
            row["peak_flops_per_second"] = max((peak for peak in peaks if peak), default=None)
        rows.append(row)
    return rows


def _concerns(report: Mapping[str, Any], options: Mapping[str, Any]) -> list[dict[str, str]]:
    from dataclasses import asdict

    from harness.measure.machine.diagnostics import Facts, diagnose
    from harness.measure.machine.hardware import gpu_processes

    machine = report["machine"]
    facts = Facts(
        settings=machine["settings"],
        conditions=machine,
        virtual=machine["system"].get("virtual"),
        cores=machine["cores"]["physical"],
        usable=machine["cores"]["available"],
        threads=options["threads"],
        launches=options["launches"],
        foreign=gpu_processes(),
        variables=os.environ,
        floors={
            row["engine"]: row["floors"][str(LAUNCHES[0])]
            for row in report["engines"]
            if "floors" in row
        },
    )
    return [asdict(concern) for concern in diagnose(facts)]


def _print(report: Mapping[str, Any], format_: str) -> None:
    from harness.contract.wording import printable

    if format_ == "json":
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    for line in [*_machine_lines(report), "", *_engine_lines(report), "", *_concern_lines(report)]:
        sys.stdout.write(printable(line) + "\n")


def _machine_lines(report: Mapping[str, Any]) -> list[str]:
    machine = report["machine"]
    cores = machine["cores"]
    processors = f"{cores['physical']} cores ({cores['available']} processors usable)"
    where = f"{machine['memory_gibibytes']} GiB; environment {machine['environment_id']}"
    lines = [f"machine   {machine['cpu']['model']}, {processors}, {where}"]
    lines += [f"GPU       {', '.join(gpu.values())}" for gpu in machine["gpus"]]
    return lines + [
        f"backend   {row['name']}: {row['reason'] or 'can run'}" for row in report["backends"]
    ]


def _engine_lines(report: Mapping[str, Any]) -> list[str]:
    measured = [row for row in report["engines"] if "floors" in row]
    lines = [
        f"{row['engine']}: not measured: {row['reason']}"
        for row in report["engines"]
        if row.get("reason")
    ]
    if not measured:
        return lines
    heads = "".join(f"  floor, {n} launches" for n in LAUNCHES)
    lines.append(f"{'engine':18} {'large products':>14} {'A to B':>8}{heads}")
    for row in measured:
        peak = row["peak_flops_per_second"]
        shown = "unknown" if peak is None else f"{peak / 1e9:.0f} GFLOP/s"
        floors = "".join(
            f"{row['floors'][str(n)]:{len(f'  floor, {n} launches')}.1%}" for n in LAUNCHES
        )
        lines.append(f"{row['engine']:18} {shown:>14} {row['a_to_b']:>+8.1%}{floors}")
    return [
        *lines,
        "A difference below the floor is noise on this machine; more launches lower the floor.",
    ]


def _concern_lines(report: Mapping[str, Any]) -> list[str]:
    if not report["concerns"]:
        return ["Nothing speaks against measuring here."]
    lines = ["What makes figures noisy here, and what to do:"]
    for concern in report["concerns"]:
        lines += [f"  - {concern['problem']}", f"    -> {concern['fix']}"]
    return lines
