"""The lines below a table that a run prints: only what this table needs. A report has all."""

from __future__ import annotations

from collections.abc import Iterator

from harness.contract.wording import counted
from harness_results.study import findings, versions
from harness_results.study.machines import legend
from harness_results.study.seeds.statistics import MOST_IN_RANGE
from harness_results.study.study import Study
from harness_results.study.tables.notes import FLAG, REMARKS, remarks
from harness_results.study.tables.pivot import (
    BASELINE,
    EXPLODING,
    OTHER_FUNCTION,
    SOLVED,
    UNVERIFIED,
    VANISHING,
    Pivot,
)
from harness_results.text.format import one_line
from harness_results.text.words import listed

NAMED = set(REMARKS) - {FLAG, "over-fitting"}  # kinds whose remarks are written out
OF_LOSS = {BASELINE: "≈ has learnt nothing"}
OF_SPEED = {OTHER_FUNCTION: "≠ another function", UNVERIFIED: "? unverified"}
OF_HORIZON = {VANISHING: "↓ < T/2", EXPLODING: "↑ explodes"}


def brief_notes(study: Study, table: Pivot) -> tuple[str, ...]:
    """Return how to read the columns and marks of a table, what failed, and the count of flags."""
    lines = [_reading(study, table), *legend(study.records, study.machines)]
    lines += [*versions.legend(study.trials), *remarks(study, [k for k in REMARKS if k in NAMED])]
    over = [record for record in study.trials if findings.overfitting(record)]
    if over:
        names = listed(dict.fromkeys(f"{one_line(r.trial.cell)} T={r.trial.length}" for r in over))
        lines.append(f"over-fitting: {names}: validation was best before the end")
    flagged = sum(bool(findings.flags(record)) for record in study.trials)
    if flagged:
        trials = counted(len(study.trials), "trial")
        lines.append(f"flags: on {flagged} of {trials}; harness report names them")
    return tuple(lines)


def _reading(study: Study, table: Pivot) -> str:
    cells = [cell for row in table.rows for entry in row.entries.values() for cell in entry]
    marks = {cell.mark for cell in cells}
    ended = [record for record in study.records if record.status == "ok"]
    unit = findings.loss_unit([*ended, *study.records][0])
    baseline = findings.shared_baseline_name(study.records)
    is_text = any(findings.ngram_losses(record) for record in study.records)
    solved = {SOLVED: f"✓ below {baseline}" if is_text else "✓ solved"}
    speed = "tokens/s: in training"
    if any(cell.style == "best" for cell in cells):
        speed += ", bold if surely the fastest"
    horizon = f"horizon: steps back until gradient < {findings.HORIZON}"
    if any(cell.text.startswith(">") for cell in cells):
        horizon += ", > at least"
    spread = f"spread: range of up to {MOST_IN_RANGE} seeds, else quartiles"
    share = "solved: by how many (95 % interval)"
    over_seeds = ["a row: the median over seeds", spread, share, "id: of the median, + others"]
    return " · ".join(
        [
            *(over_seeds if study.is_over_seeds else []),
            ", ".join([f"loss: held-out, {unit} (x {baseline})", *_used(solved | OF_LOSS, marks)]),
            ", ".join([speed, *_used(OF_SPEED, marks)]),
            "∇ norm: median",
            ", ".join([horizon, *_used(OF_HORIZON, marks)]),
        ]
    )


def _used(legend_of: dict[str, str], marks: set[str]) -> Iterator[str]:
    return (words for mark, words in legend_of.items() if mark in marks)
