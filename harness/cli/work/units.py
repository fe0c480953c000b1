"""What hidden units respond to, for the page: few networks, and a text that takes seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from harness.cli.output.units import View
from harness.contract import Record
from harness.contract.errors import HarnessError
from harness.plugins import load_plugins
from harness.probing.units import ClassScore, study_units
from harness.sweep.trained import stored_checkpoint
from harness_results.page.units import NetworkUnits, Units
from harness_results.study.samples import worth_showing
from harness_results.text.format import UNKNOWN, number, one_line, safe

MOST_NETWORKS = 4
MOST_PARAMETERS = 500_000
CHARACTERS = 8_000  # read by each network: a second or two
EXCERPT = 400


def units_of(records: Sequence[Record], stores: Sequence[str]) -> Units:
    """Return what the units of the best text network of each task and cell respond to.

    A network is left out if its checkpoint is not on this machine, if it is large, or if there are
    more than ``MOST_NETWORKS``.
    """
    networks: list[NetworkUnits] = []
    left_out: list[str] = []
    for record in _best_of_each_cell(records):
        trial = record.trial
        name = f"{trial.cell} T={trial.length} {trial.engine} ({trial.trial_id})"
        checkpoint = _checkpoint(record, stores)
        if checkpoint is None:
            left_out.append(f"{name}: its checkpoint is not on this machine")
        elif (record.figures.get("parameters") or 0) > MOST_PARAMETERS:
            left_out.append(f"{name}: it has more than {MOST_PARAMETERS:,} parameters")
        elif len(networks) == MOST_NETWORKS:
            left_out.append(f"{name}: only {MOST_NETWORKS} networks are read")
        else:
            try:
                networks.append(_network(checkpoint))
            except HarnessError as error:
                left_out.append(f"{name}: {one_line(error)}")
    return Units(networks, left_out)


def _best_of_each_cell(records: Sequence[Record]) -> list[Record]:
    """Return the record of lowest validation loss of each text and cell."""
    best: dict[tuple[str, str, str], Record] = {}
    for record in sorted(worth_showing(records), key=_loss):
        trial = record.trial
        options = json.dumps(trial.task_options, sort_keys=True)
        best.setdefault((trial.task, options, trial.cell), record)
    return list(best.values())


def _loss(record: Record) -> float:
    loss = record.figures.get("loss_validation")
    return float("inf") if loss is None else float(loss)


def _checkpoint(record: Record, stores: Sequence[str]) -> Path | None:
    for store in stores:
        checkpoint = stored_checkpoint(record, store)
        if checkpoint is not None and checkpoint.exists():
            return checkpoint
    return None


def _network(checkpoint: Path) -> NetworkUnits:
    study = study_units(load_plugins(), checkpoint, characters=CHARACTERS)
    view = View.of(study, None, None, EXCERPT)
    network = NetworkUnits(
        study.trial,
        f"{len(study.names):,} units over {len(study.text):,} characters of {study.source}.",
        [_row(score) for score in view.scores],
        view.remarks(),
    )
    if view.unit is None:
        return network
    levels, low, high = study.levels(view.unit)
    return replace(
        network,
        unit=view.unit,
        class_name=view.class_name or "",
        low=number(low),
        high=number(high),
        spans=list(_spans(study.text[view.part], levels[view.part].tolist())),
    )


def _row(score: ClassScore) -> tuple[str, ...]:
    counts = (f"{score.positives:,}", f"{score.runs:,}")
    if not score.units:
        return (score.name, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, *counts)
    best = score.units[0]
    gain = f"{round(best.gain, 2) + 0.0:+.2f}"
    return (score.name, best.unit, f"{best.auc:.2f}", f"{score.character_auc:.2f}", gain, *counts)


def _spans(text: str, levels: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield pieces of the text that have one level."""
    changes = [i for i, (a, b) in enumerate(pairwise(levels), start=1) if a != b]
    for start, end in pairwise([0, *changes, len(levels)]):
        yield levels[start], safe(text[start:end])
