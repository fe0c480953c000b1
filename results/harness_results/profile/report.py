"""A profile as a table, and as JSON."""

from __future__ import annotations

import json
from typing import Any

from harness.contract.records.record import finite
from harness_results.profile.sentences import sentences
from harness_results.profile.view import SECTIONS, Profile
from harness_results.study.seeds.ladder import FEWEST_SEEDS
from harness_results.study.tables.pivot import SOLVED
from harness_results.text.format import one_line
from harness_results.text.grid import Grid

WIDTH = 100  # of the table, at most
READING = {
    "computes": f"seeds that solve the task at every length, accuracy at the longest · {SOLVED} "
    f"four of five seeds; of fewer than {FEWEST_SEEDS} seeds, each",
    "keeps": "capacity: of the linear memory of inputs, in lags · latent: accuracy or R^2 of "
    "what the task asks to remember (chance) · horizon: steps until a gradient is 1 %, not cut "
    "off at T",
    "learns": "seeds that solve the task, and the median steps until then; of a text the loss "
    "(x baseline)",
    "speed": "tokens/s, and the fraction of a limit of this machine · serial: the chain of "
    "products that the recurrence cannot avoid · peak: one large product, if the cell has no "
    "such chain",
    "proof": "largest relative difference of loss and gradients from the float64 reference · "
    "trials within what rounding explains",
}  # how to read each section


def table_of(profile: Profile) -> Grid:
    """Return the table: a row for each figure, a column for each cell, the sentences below."""
    said = sentences(profile)
    return Grid(
        title=profile.title,
        axes=("", ""),
        columns=tuple(map(one_line, profile.cells)),
        rows=tuple(
            (
                (row.section, row.name),
                tuple(
                    row.entries[cell].text if cell in row.entries else "" for cell in profile.cells
                ),
            )
            for row in profile.rows
        ),
        notes=(
            *(f"{section}: {text}" for section, text in said),
            *(f"rows of {section}: {READING[section]}" for section in _used(profile)),
        ),
    )


def to_json(profile: Profile) -> str:
    """Return the values of each row by section, and the sentences."""
    content: dict[str, Any] = {
        "cell": profile.cell,
        "against": list(profile.against),
        "sections": {
            section: [
                {
                    "name": row.name,
                    "cells": {cell: entry.values for cell, entry in row.entries.items()},
                }
                for row in profile.rows_of(section)
            ]
            for section in SECTIONS
        },
        "sentences": dict(sentences(profile)),
        "trials": [record.trial.trial_id for record in profile.records],
    }
    return json.dumps(finite(content), indent=1, allow_nan=False) + "\n"


def _used(profile: Profile) -> list[str]:
    return [section for section in SECTIONS if profile.rows_of(section)]
