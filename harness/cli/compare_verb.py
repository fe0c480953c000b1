"""``harness compare BASE NEW``: a verdict for each trial, and an exit status that can fail a build."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from harness.cli.main import NOTHING_COMPARABLE, OK, REGRESSION
from harness.cli.options import store_option
from harness.contract import Record, Trial, UnknownNameError, UsageError

if TYPE_CHECKING:
    from harness_results.comparison import Comparison
    from harness_results.floors import Floor

FORMATS = ("table", "markdown", "json")
ALLOWED = ("slower", "newly_failing", "missing")
ENGINE = ("backend", "variant", "device")  # differ with the engine
_LAST = re.compile(r"last(?:~(\d+))?")
_RUN = re.compile(rf"\d+|{_LAST.pattern}")


@dataclass(frozen=True)
class Side:
    """One side of the comparison: its launches, and what was calibrated where they ran."""

    name: str
    records: Sequence[Record]
    calibrations: Mapping[str, Mapping[str, Any]]


@click.command("compare")
@click.argument("base")
@click.argument("new")
@store_option
@click.option("--by", metavar="AXIS", help="Compare two values of a field of the trials: python, backend, dtype, ...")
@click.option("--run", "run_id", type=click.IntRange(1), help="With --by: within this run.  [default: the last]")
@click.option("--fail-on", multiple=True, metavar="METRIC:5%|METRIC:0.02", help="What may get worse by how much.")
@click.option("--allow", multiple=True, metavar="VERDICT,...", help=f"No regression: {', '.join(ALLOWED)}.")
@click.option("--allow-mixed", is_flag=True, help="Compare although the environments differ.")
@click.option("--format", "-f", "format_", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
def command(base: str, new: str, **options: Any) -> int:
    """Compare BASE with NEW: two stores, two runs of a store, or two engines or interpreters of one run.

    A side is a store (PATH, its last run; PATH@3, run 3; PATH@all), a run of --store (3, last, last~1), an engine
    (numpy, torch:fused), or, with --by, any value of that field. Exit: 4 on a regression, 5 where nothing compares.
    """
    from harness_results.compare import compare
    from harness_results.gate import read_rule
    from harness_results.places import different_facts

    rules = [read_rule(text) for text in options["fail_on"]]
    allowed = _allowed(options["allow"])
    axis = options["by"] or (None if _is_store_or_run(base) or _is_store_or_run(new) else "backend")
    left, right = _sides(base, new, axis, options)
    ignored = ("python",) if axis == "python" else ()
    if (facts := different_facts(left.records, right.records, ignored)) and not options["allow_mixed"]:
        told = "\n  ".join(facts)
        sys.stderr.write(
            f"nothing is compared: the environments differ\n  {told}\nto compare them all the same: --allow-mixed\n"
        )
        return NOTHING_COMPARABLE
    found = compare(
        left.records, right.records, key=_key(axis), floors=_floors(left, right), rules=rules, allowed=allowed
    )
    if not found.comparable:
        sys.stderr.write(f"nothing is compared: {left.name} and {right.name} have no trial in common\n")
        return NOTHING_COMPARABLE
    _show(found, axis, options)
    return REGRESSION if any(row.regressions for row in found.rows) else OK


def _allowed(values: Iterable[str]) -> list[str]:
    names = [name.strip().replace("-", "_") for value in values for name in value.split(",")]
    for name in names:
        if name not in ALLOWED:
            raise UnknownNameError("verdict of --allow", name, ALLOWED)
    return names


def _is_store_or_run(text: str) -> bool:
    path = text.rpartition("@")[0] or text
    return (
        "://" in text or Path(text).exists() or Path(path).exists() or text.isdecimal() or bool(_LAST.fullmatch(text))
    )


def _sides(base: str, new: str, axis: str | None, options: Mapping[str, Any]) -> tuple[Side, Side]:
    if axis is None:
        if options["run_id"]:
            raise UsageError("--run chooses the run for --by: name runs as BASE and NEW, or add --by")
        return _side(base, options["store"]), _side(new, options["store"])
    records, calibrations = _launches(options["store"], str(options["run_id"] or "last"))
    return tuple(Side(value, _chosen(records, axis, value), calibrations) for value in (base, new))  # type: ignore[return-value]


def _side(text: str, store: str) -> Side:
    if _RUN.fullmatch(text):
        return Side(f"run {text}", *_launches(store, text))
    location, at, run = text.rpartition("@")
    if not at or Path(text).exists() or not (run == "all" or _RUN.fullmatch(run)):
        location, run = text, "last"
    return Side(text, *_launches(location, run))


def _launches(location: str, run: str) -> tuple[Sequence[Record], Mapping[str, Mapping[str, Any]]]:
    """Return every launch of a run (a number, ``last``, ``last~1``) or of the latest run of each trial (``all``)."""
    from harness_results.store import Store

    with Store.open(location, create=False) as store:
        known = [found.run_id for found in store.runs()]
        run_id = None if run == "all" else _run_id(run, known, location)
        return store.launches(run_id), store.all_calibrations()


def _run_id(run: str, known: Sequence[int], location: str) -> int:
    back = _LAST.fullmatch(run)
    wanted = int(run) if back is None else ([None, *known][-1 - int(back[1] or 0) :] or [None])[0]
    if wanted not in known:
        raise UsageError(f"store {location} has no run {run}; its runs: {', '.join(map(str, known)) or 'none'}")
    return int(wanted or 0)


def _chosen(records: Sequence[Record], axis: str, value: str) -> list[Record]:
    if axis not in Trial.model_fields:
        raise UnknownNameError("axis of --by", axis, Trial.model_fields)
    chosen = [record for record in records if value in _values(record.trial, axis)]
    if not chosen:
        known = dict.fromkeys(_values(record.trial, axis)[-1] for record in records)
        raise UnknownNameError(f"{axis} in this run", value, known)
    return chosen


def _values(trial: Trial, axis: str) -> tuple[str, ...]:
    """Return what a user may call the trial's value of an axis, the most exact last."""
    return (
        (trial.backend, trial.engine)
        if axis == "backend"
        else (str(getattr(trial, axis)).lower(), str(getattr(trial, axis)))
    )


def _key(axis: str | None) -> Any:
    from harness_results.compare import same_but, same_trial

    return same_trial if axis is None else same_but(*(ENGINE if axis == "backend" else (axis,)))


def _floors(left: Side, right: Side) -> dict[str, Floor]:
    """Return the noise floors of the environment that most records of the base come from."""
    from harness_results.floors import measured_floors

    places = [record.environment_id for record in left.records if record.environment_id is not None]
    if not places:
        return {}
    place = max(set(places), key=places.count)
    trials = {record.trial for record in left.records}
    launches = max(1, round(len(left.records) / max(1, len(trials))))
    known = {**right.calibrations.get(place, {}), **left.calibrations.get(place, {})}
    return measured_floors(known, launches)


def _show(found: Comparison, axis: str | None, options: Mapping[str, Any]) -> None:
    from harness.cli.output import stdout_console
    from harness_results import compare_text

    if options["format_"] == "table" and options["output"] is None:
        stdout_console().print(compare_text.to_table(found, axis))
        return
    if options["format_"] == "json":
        text = compare_text.to_json_lines(found)
    elif options["format_"] == "markdown":
        text = compare_text.to_markdown(found, axis)
    else:
        text = compare_text.plain(found, axis)
    _write(text, options["output"])


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}; choose another --output") from error
