"""``harness compare BASE NEW``: a verdict for each trial, and an exit status that can fail a build."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from harness.cli.main import NOTHING_COMPARABLE, OK, REGRESSION
from harness.cli.options.axes import run_option, store_option
from harness.cli.options.types import Percentage
from harness.contract import UnknownNameError, UsageError

if TYPE_CHECKING:
    from harness_results.compare.comparison import Comparison, Row
    from harness_results.compare.gate import Rule
    from harness_results.compare.sides import Side

FORMATS = ("table", "markdown", "json")
ALLOWED = ("slower", "newly_failing", "missing")
DOUBT = ("cannot-tell", "cannot_tell")  # of --fail-on
FAIL_ON = "What may get worse by how much; cannot-tell: a verdict is needed."
NOTHING_TOLD = ("missing", "new", "not_comparable")


@click.command("compare")
@click.argument("base")
@click.argument("new")
@store_option
@click.option(
    "--by",
    metavar="AXIS",
    help="Compare two values of a field of the trials: python, backend, dtype, ...",
)
@run_option("With --by: within this run", "last")
@click.option("--fail-on", multiple=True, metavar="METRIC:5%|METRIC:0.02|cannot-tell", help=FAIL_ON)
@click.option(
    "--allow", multiple=True, metavar="VERDICT,...", help=f"No regression: {', '.join(ALLOWED)}."
)
@click.option(
    "--drift",
    type=Percentage(),
    help="Of the machine, between sides not interleaved.  [default: 10%]",
)
@click.option("--allow-mixed", is_flag=True, help="Compare although the environments differ.")
@click.option(
    "--format", "-f", "format_", type=click.Choice(FORMATS), default="table", show_default=True
)
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file."
)
def command(base: str, new: str, **options: Any) -> int:
    """Compare BASE with NEW: two stores, two runs of a store, or two engines or interpreters of one run.

    A side is a store (PATH, its last run; PATH@3, run 3; PATH@all), a run of --store (3, last,
    last~1), an engine (numpy, torch:fused), or, with --by, any value of that field. Exit: 4 on a
    regression, 5 where nothing compares.
    """
    from harness_results.compare.environments import different_facts
    from harness_results.compare.gate import read_rule
    from harness_results.compare.sides import floors_of, is_store_or_run
    from harness_results.compare.verdicts import compare, matching, other_differences
    from harness_results.study.verdicts.statistics import DEFAULT_DRIFT

    rules = [read_rule(text) for text in options["fail_on"] if text not in DOUBT]
    doubt = len(rules) < len(options["fail_on"])
    allowed = _allowed(options["allow"])
    axis = options["by"] or (None if is_store_or_run(base) or is_store_or_run(new) else "backend")
    left, right = _sides(base, new, axis, options)
    ignored = ("python",) if axis == "python" else ()
    key = matching(axis)
    facts = different_facts(left.records, right.records, key=key, ignored=ignored)
    if facts and not options["allow_mixed"]:
        told = "\n  ".join(facts)
        sys.stderr.write(
            f"nothing is compared: the environments differ\n  {told}\nto compare them all the same: --allow-mixed\n"
        )
        return NOTHING_COMPARABLE
    drift = DEFAULT_DRIFT if options["drift"] is None else options["drift"]
    floors = floors_of(left, right)
    found = compare(
        left.records, right.records, key=key, floors=floors, drift=drift, rules=rules, allowed=allowed,
        fail_on_doubt=doubt,
    )  # fmt: skip
    if not found.comparable:
        also = (
            other_differences(left.records[0].trial, right.records[0].trial, axis) if axis else ""
        )
        sys.stderr.write(
            f"nothing is compared: {left.name} and {right.name} have no trial in common{also}\n"
        )
        return NOTHING_COMPARABLE
    _show(replace(found, sides=(left.name, right.name)), axis, options)
    if any(row.regressions for row in found.rows):
        return REGRESSION
    return OK if any(_judged(row, rules) for row in found.rows) else NOTHING_COMPARABLE


def _judged(row: Row, rules: Sequence[Rule]) -> bool:
    """Say whether the speeds or any rule told something of the trial."""
    return row.verdict not in NOTHING_TOLD or (row.both_ok and len(row.unchecked) < len(rules))


def _allowed(values: Iterable[str]) -> list[str]:
    names = [name.strip().replace("-", "_") for value in values for name in value.split(",")]
    for name in names:
        if name not in ALLOWED:
            raise UnknownNameError("verdict of --allow", name, ALLOWED)
    return names


def _sides(base: str, new: str, axis: str | None, options: Mapping[str, Any]) -> tuple[Side, Side]:
    from harness_results.compare.sides import store_or_run, values_of

    if axis is not None:
        return values_of(axis, base, new, options["store"], options["run"] or "last")
    if options["run"]:
        raise UsageError("--run chooses the run for --by: name runs as BASE and NEW, or add --by")
    return store_or_run(base, options["store"]), store_or_run(new, options["store"])


def _show(found: Comparison, axis: str | None, options: Mapping[str, Any]) -> None:
    from harness.cli.output.results import stdout_console, write_text
    from harness_results.compare import text as compare_text

    if options["format_"] == "table" and options["output"] is None:
        stdout_console().print(compare_text.to_table(found, axis))
        return
    if options["format_"] == "json":
        text = compare_text.to_json_lines(found)
    elif options["format_"] == "markdown":
        text = compare_text.to_markdown(found, axis)
    else:
        text = compare_text.plain(found, axis)
    write_text(text, options["output"])
