"""The work of ``harness doctor``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from harness.cli import streams
from harness.cli.main import INTERRUPTED, NOT_OK, OK
from harness.cli.signals import stopping_on_signals
from harness.contract import HarnessError, Missing, Record, Trial
from harness.contract.errors import with_fix
from harness.contract.wording import printable
from harness.execute.settings import LocalSettings
from harness.measure.machine.diagnostics import MachineFacts, diagnose
from harness.measure.machine.environment import environment_id, environment_record
from harness.measure.machine.hardware import conditions, gpu_processes
from harness.plugins import Plugins, load_plugins, query
from harness.sweep.noise import same_trials, split
from harness.sweep.progress import ProgressView
from harness.sweep.session import Session
from harness_results.store.runs import DOCTOR
from harness_results.store.store import Store
from harness_results.study.verdicts.statistics import noise_floor

LAUNCHES = (5, 10)  # sizes of later comparisons whose noise floors are shown
MACHINE_FACTS = ("cpu", "cores", "memory_gibibytes", "system", "settings", "gpus")

Options = Mapping[str, Any]
Report = dict[str, Any]


def examine(blocked: tuple[str, ...], options: Options) -> int:
    """Print the report that the options ask for, and return the exit status."""
    plugins = load_plugins(blocked)
    report: Report = {"machine": _machine(), "backends": _backends(plugins)}
    engines = options["backend"] or _engines_here(report, plugins)
    trials, notes = same_trials(engines, options["threads"], plugins)
    for note in notes:
        streams.note(note)
    launches: list[Record] = []
    if not options["dry_run"]:
        launches, interrupted = _measure(trials, plugins, options)
        if interrupted:
            return INTERRUPTED
    report["engines"] = [_engine(trial, launches, options["order_seed"]) for trial in trials]
    report["concerns"] = _diagnostics(report, options)
    _print(report, options["format_"])
    return OK if all(record.status == "ok" for record in launches) else NOT_OK


def _machine() -> dict[str, Any]:
    record = environment_record()
    facts = {name: record[name] for name in MACHINE_FACTS}
    return {"environment_id": environment_id(record), **facts, **conditions()}


def _backends(plugins: Plugins) -> list[dict[str, Any]]:
    rows = []
    for backend in plugins.backends.values():
        answer = query.available_or_missing(backend)
        reason = with_fix(answer.reason, answer.fix) if isinstance(answer, Missing) else None
        rows.append(_backend_row(backend.name, backend.groups, reason))
    rows += [_backend_row(plugin.name, (), f"broken: {plugin.reason}") for plugin in plugins.broken]
    return rows


def _backend_row(name: str, groups: Sequence[str], reason: str | None) -> dict[str, Any]:
    return {"name": name, "groups": groups, "usable": reason is None, "reason": reason}


def _engines_here(report: Report, plugins: Plugins) -> list[str]:
    """Return the backends that can run here, without peers.

    A backend whose answers make no plan is marked unusable in the report, with the reason. If none
    is left, all are returned, and they fail with their reasons.
    """
    rows = [row for row in report["backends"] if row["usable"] and not row["groups"]]
    for row in rows:
        try:
            same_trials((row["name"],), 1, plugins)
        except HarnessError as error:
            row |= {"usable": False, "reason": str(error)}
    return [row["name"] for row in rows if row["usable"]] or [row["name"] for row in rows]


def _measure(
    trials: Sequence[Trial], plugins: Plugins, options: Options
) -> tuple[list[Record], bool]:
    """Return the record of every launch, and whether a signal ended the run.

    The store keeps the records and the noise floors.
    """
    rounds, seed = 2 * options["launches"], options["order_seed"]
    with (
        Store.open(options["store"]) as store,
        ProgressView(rounds * len(trials), quiet=options["quiet"]) as view,
    ):
        with stopping_on_signals(view.note) as stop:
            session = Session(store, DOCTOR, plugins, stop=stop, launches=rounds, order_seed=seed)
            launches = list(session.measure(trials, LocalSettings(), view))
        for trial in trials if not stop.count else ():
            _keep_floor(store, trial, launches, seed)
    return launches, bool(stop.count)


def _keep_floor(store: Store, trial: Trial, launches: Sequence[Record], seed: int) -> None:
    records = [record for record in launches if record.trial == trial]
    if all(record.figures.get("step_seconds_median") for record in records):
        a, b = split(records, seed)
        seconds = {"seconds_per_step_a": a, "seconds_per_step_b": b}
        content = {**seconds, "trial": trial.content()}
        store.calibrate(str(records[0].environment_id), f"noise/{trial.engine}", content)


def _engine(trial: Trial, launches: Sequence[Record], seed: int) -> dict[str, Any]:
    """Return an engine's row: its times, noise floors and peak, or why there are none."""
    row: dict[str, Any] = {"engine": trial.engine}
    records = [record for record in launches if record.trial == trial]
    failed = [record for record in records if not record.figures.get("step_seconds_median")]
    if failed:
        row["reason"] = failed[0].reason
    elif records:
        a, b = split(records, seed)
        limits = [record.details.get("limits", {}) for record in records]
        peaks = [limit.get("peak_flops_per_second") for limit in limits]
        row |= {"step_seconds": median([*a, *b]), "a_to_b": median(a) / median(b) - 1}
        row["floors"] = {str(n): noise_floor(a, b, n) for n in LAUNCHES}
        row["peak_flops_per_second"] = max((peak for peak in peaks if peak), default=None)
    return row


def _diagnostics(report: Report, options: Options) -> list[dict[str, str]]:
    machine = report["machine"]
    measured = [row for row in report["engines"] if "floors" in row]
    facts = MachineFacts(
        settings=machine["settings"],
        conditions=machine,
        virtual=machine["system"].get("virtual"),
        cores=machine["cores"]["physical"],
        usable=machine["cores"]["available"],
        threads=options["threads"],
        launches=options["launches"],
        foreign=gpu_processes(),
        variables=os.environ,
        floors={row["engine"]: row["floors"][str(LAUNCHES[0])] for row in measured},
    )
    return [
        {"problem": diagnostic.problem, "cure": diagnostic.fix} for diagnostic in diagnose(facts)
    ]


def _print(report: Report, format_: str) -> None:
    if format_ == "json":
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return
    lines = [*_machine_lines(report), "", *_engine_lines(report), "", *_diagnostic_lines(report)]
    sys.stdout.writelines(f"{printable(line)}\n" for line in lines)


def _machine_lines(report: Report) -> list[str]:
    machine = report["machine"]
    cores = machine["cores"]
    processors = f"{cores['physical']} cores ({cores['available']} processors usable)"
    rest = f"{machine['memory_gibibytes']} GiB; environment {machine['environment_id']}"
    lines = [f"machine   {machine['cpu']['model']}, {processors}, {rest}"]
    lines += [f"GPU       {', '.join(gpu.values())}" for gpu in machine["gpus"]]
    for row in report["backends"]:
        lines.append(f"backend   {row['name']}: {row['reason'] or 'can run'}")
    return lines


def _engine_lines(report: Report) -> list[str]:
    lines = [
        f"{row['engine']}: not measured: {row['reason']}"
        for row in report["engines"]
        if row.get("reason")
    ]
    measured = [row for row in report["engines"] if "floors" in row]
    if not measured:
        return lines
    heads = {str(n): f"  floor, {n} launches" for n in LAUNCHES}
    lines.append(f"{'engine':18} {'large products':>14} {'A to B':>8}{''.join(heads.values())}")
    for row in measured:
        peak = row["peak_flops_per_second"]
        rate = "unknown" if peak is None else f"{peak / 1e9:.0f} GFLOP/s"
        floors = "".join(f"{row['floors'][n]:{len(head)}.1%}" for n, head in heads.items())
        lines.append(f"{row['engine']:18} {rate:>14} {row['a_to_b']:>+8.1%}{floors}")
    lines.append("A difference below the floor is noise on this machine. More launches lower it.")
    return lines


def _diagnostic_lines(report: Report) -> list[str]:
    if not report["concerns"]:
        return ["This machine is ready to measure: no source of noise was found."]
    lines = ["Sources of noise on this machine, and what to do:"]
    for diagnostic in report["concerns"]:
        lines += [f"  - {diagnostic['problem']}", f"    -> {diagnostic['cure']}"]
    return lines
