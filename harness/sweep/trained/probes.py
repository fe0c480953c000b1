"""Probes of trained networks, run on their checkpoints after everything that is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.contract import Record, UsageError
from harness.contract.errors import with_fix
from harness.contract.records.probed import Probed, probed
from harness.contract.wording import counted
from harness.measure.checkpoint import load
from harness.plugins import Plugins
from harness.probing.run import run_probe
from harness.sweep.trained.checkpoints import (
    checkpoint_of,
    stored_checkpoint,
    weights_over_training,
)

if TYPE_CHECKING:
    from harness_results.store.store import Store

ALL = "all"


def probe_names(text: str | None, plugins: Plugins) -> tuple[str, ...]:
    """Return the probes that ``all`` or a comma list names; () of None.

    Raises:
        UnknownNameError: no plugin offers one of them.
    """
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if ALL in names:
        return tuple(plugins.probes)
    return tuple(plugins.probe(name).name for name in dict.fromkeys(names))


def add_probes(
    store: Store,
    records: Sequence[Record],
    names: Sequence[str],
    plugins: Plugins,
    say: Callable[[str], None],
    *,
    is_stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Run the probes that these trained networks lack, and store what they measure.

    A probe that failed is not tried again unless its version has changed.

    Args:
        store: of the records, opened for writing; its checkpoints are next to it.
        records: one per trial.
        names: of the probes.
        plugins: as loaded.
        say: receives a note on what runs, and on networks that cannot be probed.
        is_stopped: whether to end early.
    """
    left = []
    for record in records:
        checkpoint = stored_checkpoint(record, store.name)
        weights = {} if checkpoint is None else weights_over_training(record, checkpoint)
        if lacking := _lacking(record, names, plugins, steps=len(weights)):
            left.append((record.trial.trial_id, checkpoint, weights, lacking))
    if left:
        say(f"probes of {counted(len(left), 'network')}: {', '.join(names)}")
    for trial_id, checkpoint, weights, lacking in left:
        if checkpoint is None or not checkpoint.exists():
            say(f"note: trial {trial_id} has no checkpoint here, so no probe measured it")
            continue
        for name in lacking:
            if is_stopped():
                return
            store.add_probe(trial_id, name, run_probe(plugins, name, weights))


def probe_trial(
    trial: str, text: str | None, store: str | Path, plugins: Plugins
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run probes on one trained network again, store what they measure, and yield it by name.

    Args:
        trial: its id, its first digits, ``last``, or a ``.safetensors`` file, for which nothing is
            stored.
        text: ``all``, or a comma list of probes.
        store: of the trial.
        plugins: as loaded.

    Raises:
        UsageError: there is no such trial or probe, or it left no checkpoint.
        StoreError: the store cannot be written.
    """
    from harness_results.store.store import Store

    names, checkpoint = probe_names(text or ALL, plugins), checkpoint_of(trial, store)
    if trial.endswith(".safetensors"):
        yield from ((name, run_probe(plugins, name, {0: checkpoint})) for name in names)
        return
    trial_id = load(checkpoint).trial.trial_id
    with Store.open(store) as opened:
        record = opened.launches_of(trial_id)[-1]
        if problem := _refusal(record):
            raise UsageError(with_fix(f"trial {trial_id}: {problem}", "name another trial"))
        weights = weights_over_training(record, checkpoint)
        for name in names:
            result = run_probe(plugins, name, weights)
            opened.add_probe(trial_id, name, result)
            yield name, result


def _lacking(record: Record, names: Sequence[str], plugins: Plugins, *, steps: int) -> list[str]:
    """Return the probes that have not measured a record, or only in an earlier version.

    Args:
        record: of a trained network.
        names: of the probes.
        plugins: as loaded.
        steps: how many steps of training have weights; a probe that measured the last alone then
            measures again.
    """
    if _refusal(record):
        return []
    results, lacking = probed(record.details), []
    for name in names:
        result = results.get(name, Probed(name, None))
        is_old = (result.version or 0) < plugins.probe(name).version
        is_partial = steps > 1 and not result.over_training and not result.failed
        if is_old or is_partial:
            lacking.append(name)
    return lacking


def _refusal(record: Record) -> str | None:
    """Return why probes do not measure a record; None: they do."""
    if record.status != "ok":
        return f"it ended {record.status.replace('_', ' ')}"
    if record.details.get("deviation"):
        return "its engine trained another function than the equations of the cell"
    return None
