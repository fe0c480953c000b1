"""A comparison of speeds as a table or JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from harness.contract.records.record import Record, finite
from harness.contract.trial import Trial
from harness_results.compare.comparison import Comparison, Row
from harness_results.compare.table import VerdictTable
from harness_results.study.findings import is_of_earlier_rules
from harness_results.study.verdicts.statistics import FAMILY
from harness_results.study.versions import in_words
from harness_results.text.format import UNKNOWN, number, one_line, quantity

AT_ONCE = (
    "launches disturbed each other: base was measured with --jobs {}, new with --jobs {}; "
    "measure one at a time"
)
WARM = (
    "processes that other trials used before (--isolation backend) are no launches: "
    "measure again without it"
)
WARMING_UP = "warm-up ended before block times were flat: raise --steps"
EARLIER = (
    "{}'s speeds are medians of blocks, by an earlier version; "
    "the other side's are all tokens over all seconds"
)
HOLM = (
    "{} p-values, adjusted by Holm's method: "
    f"chance alone shows a difference in at most {FAMILY:.0%} of such tables"
)
# keys of an object of ``json_rows``
OF_TRIAL = ("trial_id", "task", "cell", "length", "backend", "variant")
OF_EFFECT = ("change", "low", "high", "p_value", "p_adjusted")
OF_SIDE = (
    "trial_id", "status", "launches", "tokens_per_second", "loss_validation", "gradient_norm_max",
)  # fmt: skip
HEADINGS = ("trial", "base", "new", "change", "95 % interval", "noise", "loss", "verdict")
MOST_NAMED = 4  # trials below the table, before "and n more"
STYLES = {
    "faster": "green", "fixed": "green",
    "slower": "bold red", "newly_failing": "bold red", "missing": "bold red",
    "cannot_tell": "yellow", "not_comparable": "yellow",
}  # fmt: skip
READING = (
    "base, new: tokens/s, median over launches · change: of the throughput · noise: what equal "
    "code reaches by chance (99 of 100 comparisons; ~ assumed, measure it with `harness doctor`) · "
    "loss: validation, base to new"
)


def names(
    trials: Sequence[Trial], axis: str | None = None, *, over_seeds: bool = False
) -> list[str]:
    """Return a name for each trial: task, cell, length, engine and whatever else differs.

    Args:
        trials: to be named.
        axis: the field in which the two sides differ; names leave it out.
        over_seeds: whether each trial stands for all seeds.
    """
    contents = [trial.content() | trial.task_options for trial in trials]
    usual = {"task", "cell", "length", "backend", "variant", "task_options", "python", axis}
    usual |= {"seed"} if over_seeds else set()
    keys = dict.fromkeys(key for content in contents for key in content if key not in usual)
    varying = [
        key for key in keys if len({json.dumps(content.get(key)) for content in contents}) > 1
    ]
    return [_name(trial, varying, axis) for trial in trials]


def _name(trial: Trial, varying: list[str], axis: str | None) -> str:
    content = trial.content() | trial.task_options
    engine = trial.backend if axis == "variant" else trial.engine
    texts = {"task": trial.task, "cell": trial.cell, "length": f"T={trial.length}"}
    parts = [text for name, text in (texts | {"backend": engine}).items() if name != axis]
    parts += [f"{key}={content[key]}" for key in varying if key in content]
    if trial.python and axis != "python":
        parts.append(f"python={trial.python}")
    return one_line(" ".join(parts))


def to_table(comparison: Comparison, axis: str | None = None) -> VerdictTable:
    """Return the table, with lines below it; names leave out the field ``axis``."""
    rows = comparison.rows
    named = zip(names([row.trial for row in rows], axis), rows, strict=True)
    return VerdictTable(
        HEADINGS,
        [(name, *_cells(row)) for name, row in named],
        [STYLES.get(row.verdict, "") for row in rows],
        list(_lines(comparison, axis)),
        READING,
    )


def json_rows(comparison: Comparison) -> list[Any]:
    """Return one object per trial, and a last one, ``{"suite": ...}``, with the whole."""
    suite = {
        "geometric_mean": comparison.geometric_mean,
        "n": len(comparison.ratios),
        "verdicts": comparison.counts,
        "tests": comparison.tests,
        "versions": {
            name: dict(zip(("base", "new"), both, strict=True))
            for name, both in comparison.versions.items()
        },
        "regressions": sum(bool(row.regressions) for row in comparison.rows),
    }
    return [finite(item) for item in (*map(_flat, comparison.rows), {"suite": suite})]


def _flat(row: Row) -> dict[str, Any]:
    trial, effect = row.trial, row.effect
    sides = {"base": row.base, "new": row.new}
    flat: dict[str, Any] = {"verdict": row.verdict, "reason": row.reason}
    flat |= {"regressions": list(row.regressions), "unchecked": list(row.unchecked)}
    flat |= {name: getattr(trial, name) for name in OF_TRIAL}
    flat |= {name: getattr(effect, name, None) for name in OF_EFFECT}
    flat |= {"noise_floor": row.floor.value, "noise_floor_measured": row.floor.measured}
    compared = effect is not None and effect.low is not None
    flat |= {"interleaved": row.drift is None if compared else None, "drift": row.drift}
    for side, record in sides.items():
        columns = record.columns() if record else {}
        flat |= {f"{side}_{name}": columns.get(name) for name in OF_SIDE}
    flat |= dict(zip(("base_jobs", "new_jobs"), row.jobs, strict=True))
    return flat


def _cells(row: Row) -> tuple[str, ...]:
    speeds = (_speed(row.base), _speed(row.new))
    verdict = row.verdict.replace("_", " ") + (" ✗" if row.regressions else "")
    if row.effect is None:
        return (*speeds, UNKNOWN, UNKNOWN, UNKNOWN, _losses(row), verdict)
    effect, interval = row.effect, UNKNOWN
    if effect.low is not None and effect.high is not None:
        interval = f"{effect.low:+.1%} .. {effect.high:+.1%}"
    noise = f"{'' if row.floor.measured else '~'}{row.floor.value:.1%}"
    return (*speeds, f"{effect.change:+.1%}", interval, noise, _losses(row), verdict)


def _speed(record: Record | None) -> str:
    if record is None:
        return UNKNOWN
    if record.status != "ok":
        return record.status
    return quantity(record.figures.get("tokens_per_second"))


def _losses(row: Row) -> str:
    before, after = (
        number(side.figures.get("loss_validation")) if side else UNKNOWN
        for side in (row.base, row.new)
    )
    return before if before == after else f"{before} → {after}"


def _lines(comparison: Comparison, axis: str | None) -> Iterator[str]:
    mean = comparison.geometric_mean
    if mean is not None:
        yield f"geometric mean of new / base throughput: {mean:.3f} (n = {len(comparison.ratios)})"
    yield "verdicts: " + ", ".join(
        f"{n} {verdict.replace('_', ' ')}" for verdict, n in comparison.counts.items()
    )
    if comparison.tests > 1:
        yield HOLM.format(comparison.tests)
    if comparison.versions:
        yield f"versions: {' · '.join(in_words(comparison.sides, comparison.versions))}"
    named = names([row.trial for row in comparison.rows], axis)
    yield from by_remark(named, map(_remarks, comparison.rows))


def by_remark(named: Iterable[str], remarks: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield each remark once, with the names of its rows."""
    names_of: dict[str, list[str]] = {}
    for name, of_row in zip(named, remarks, strict=True):
        for remark in of_row:
            names_of.setdefault(remark, []).append(name)
    for remark, rows in names_of.items():
        more = f"; and {len(rows) - MOST_NAMED} more" if len(rows) > MOST_NAMED else ""
        yield f"{remark} [{'; '.join(rows[:MOST_NAMED])}{more}]"


def _remarks(row: Row) -> Iterator[str]:
    """Yield what a reader must know about one trial."""
    if row.drift is not None:
        yield _apart(row.drift)
    if row.reason:
        yield f"{row.verdict.replace('_', ' ')}: {one_line(row.reason)}"
    if row.effect is not None:
        yield from _conditions(row)
    if row.regressions:
        broken = ", ".join(
            rule if ":" in rule else rule.replace("_", " ") for rule in row.regressions
        )
        yield f"regression ({broken})"
    if row.unchecked:
        yield f"not checked ({', '.join(row.unchecked)}): base has no such figure"


def _conditions(row: Row) -> Iterator[str]:
    """Yield under which conditions the speeds were measured."""
    if max(row.jobs) > 1:
        yield AT_ONCE.format(*row.jobs)
    if row.warm:
        yield WARM
    if row.warming_up:
        yield WARMING_UP
    sides = {"base": row.base, "new": row.new}
    earlier = [side for side, record in sides.items() if record and is_of_earlier_rules(record)]
    if len(earlier) == 1:
        yield EARLIER.format(earlier[0])


def _apart(drift: float) -> str:
    widened = "the machine is taken to have stood still between runs (--drift 0%)"
    if drift:
        widened = (
            f"the machine may drift by {drift:.1%} between runs (--drift), "
            "and intervals are widened by that"
        )
    return f"not interleaved: {widened}; better measure both sides in one run"
