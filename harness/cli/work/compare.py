"""The work of ``harness compare``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.cli.main import NOTHING_COMPARABLE, OK, REGRESSION
from harness.cli.options.common import ALLOWED_VERDICTS
from harness.cli.output.results import stdout_console, write_text
from harness.contract import UnknownNameError, UsageError
from harness_results.compare.comparison import Row
from harness_results.compare.environments import different_facts
from harness_results.compare.gate import Rule, read_rule
from harness_results.compare.sides import Side, floors_of, is_store_or_run, store_or_run, values_of
from harness_results.compare.table import VerdictTable
from harness_results.compare.text import json_rows, to_table
from harness_results.compare.verdicts import compare, matching, other_differences
from harness_results.study.verdicts.statistics import DEFAULT_DRIFT
from harness_results.text.json_text import JSON_FORMATS, json_text

DOUBT = ("cannot-tell", "cannot_tell")  # of --fail-on
UNDECIDED = ("missing", "new", "not_comparable")


def compare_sides(base: str, new: str, options: Mapping[str, Any]) -> int:
    """Print the comparison that the options ask for, and return the exit status."""
    rules = [read_rule(text) for text in options["fail_on"] if text not in DOUBT]
    axis = options["by"] or (None if is_store_or_run(base) or is_store_or_run(new) else "backend")
    left, right = sides_of(base, new, axis, options)
    key = matching(axis)
    ignored = ("python",) if axis == "python" else ()
    facts = different_facts(left.records, right.records, key=key, ignored=ignored)
    if facts and not options["allow_mixed"]:
        differences = "\n  ".join(facts)
        return nothing(
            f"the environments differ\n  {differences}\nto compare them all the same: --allow-mixed"
        )
    comparison = compare(
        left.records,
        right.records,
        key=key,
        floors=floors_of(left, right),
        drift=DEFAULT_DRIFT if options["drift"] is None else options["drift"],
        rules=rules,
        allowed=allowed(options["allow"]),
        fail_on_doubt=len(rules) < len(options["fail_on"]),
    )
    if not comparison.comparable:
        also = ""
        if axis:
            also = other_differences(left.records[0].trial, right.records[0].trial, axis)
        return nothing(f"{left.name} and {right.name} have no trial in common{also}")
    comparison = replace(comparison, sides=(left.name, right.name))
    print_verdicts(to_table(comparison, axis), json_rows(comparison), options)
    if any(row.regressions for row in comparison.rows):
        return REGRESSION
    return OK if any(_is_judged(row, rules) for row in comparison.rows) else NOTHING_COMPARABLE


def nothing(reason: str) -> int:
    """Say on stderr why nothing is compared, and return the exit status."""
    sys.stderr.write(f"nothing is compared: {reason}\n")
    return NOTHING_COMPARABLE


def _is_judged(row: Row, rules: Sequence[Rule]) -> bool:
    """Say whether the speeds or any rule decided something about the trial."""
    return row.verdict not in UNDECIDED or (row.both_ok and len(row.unchecked) < len(rules))


def allowed(values: Iterable[str]) -> list[str]:
    """Return the verdicts of ``--allow``.

    Raises:
        UnknownNameError: a verdict cannot be allowed.
    """
    names = [name.strip().replace("-", "_") for value in values for name in value.split(",")]
    for name in names:
        if name not in ALLOWED_VERDICTS:
            raise UnknownNameError("verdict of --allow", name, ALLOWED_VERDICTS)
    return names


def sides_of(
    base: str, new: str, axis: str | None, options: Mapping[str, Any]
) -> tuple[Side, Side]:
    """Return the two sides: values of an axis in one run, or stores and runs.

    Raises:
        UsageError: there is no such side.
    """
    if axis is not None:
        return values_of(axis, base, new, options["store"], options["run"] or "last")
    if options["run"]:
        raise UsageError("--run chooses the run for --by: name runs as BASE and NEW, or add --by")
    return store_or_run(base, options["store"]), store_or_run(new, options["store"])


def print_verdicts(table: VerdictTable, objects: list[Any], options: Mapping[str, Any]) -> None:
    """Print a comparison in the format of the options."""
    format_, output = options["format_"], options["output"]
    if format_ == "table" and output is None:
        stdout_console().print(table)
    elif format_ in JSON_FORMATS:
        write_text(json_text(objects, format_), output)
    else:
        write_text(table.markdown() if format_ == "markdown" else table.plain(), output)
