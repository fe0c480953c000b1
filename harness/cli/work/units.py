"""What hidden units respond to, for the page: few networks, and a text that takes seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.contract import Record, Task
from harness.contract.errors import HarnessError
from harness.hidden_units.units import study_units
from harness.plugins import load_plugins
from harness.sweep.trained.checkpoints import stored_checkpoint
from harness_results.page.units import NetworkUnits, Units
from harness_results.study import findings
from harness_results.text.format import number, one_line, safe

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
    tasks = load_plugins().tasks
    texts = {name for name, task in tasks.items() if task.vocabulary is not Task.vocabulary}
    trained = [each for each in records if each.status == "ok" and each.trial.task in texts]
    best: dict[tuple[str, str, str], Record] = {}
    for record in sorted(trained, key=findings.rank):
        trial = record.trial
        options = json.dumps(trial.task_options, sort_keys=True)
        best.setdefault((trial.task, options, trial.cell), record)
    return list(best.values())


def _checkpoint(record: Record, stores: Sequence[str]) -> Path | None:
    for store in stores:
        checkpoint = stored_checkpoint(record, store)
        if checkpoint is not None and checkpoint.exists():
            return checkpoint
    return None


def _network(checkpoint: Path) -> NetworkUnits:
    study = study_units(load_plugins(), checkpoint, characters=CHARACTERS)
    view = study.view(length=EXCERPT)
    network = NetworkUnits(
        study.trial, view.size, [score.rows()[0] for score in view.scores], view.remarks()
    )
    if view.unit is None:
        return network
    return replace(
        network,
        unit=view.unit,
        class_name=view.class_name or "",
        low=number(view.low),
        high=number(view.high),
        spans=[(level, safe(text)) for level, text in view.spans()],
    )
