"""Runs one launch on a node of a cluster. JSON comes in, JSON and weights go out.

The launch runs in its own worker process. The process of the Ray task is reused, and the threads of
its libraries are set already.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from harness.contract import HarnessError, Record, Trial
from harness.execute.launch import Launch
from harness.execute.settings import LocalSettings
from harness.execute.stop import StopRequest
from harness.measure.reaper import die_with_parent
from harness.measure.record_builder import RecordBuilder
from harness.plugins import load_plugins
from harness.version import __version__

Answer = tuple[str, bytes | None]
_SENT = (bool, int, float, str, tuple, Mapping)  # types of the settings that are sent to a node
STAYS_HERE = ("pythons", "fingerprints")  # settings
SLOWED = "ran at a lower priority (nice {}): start the nodes with RAY_worker_niceness=0"


def request_of(trial: Trial, settings: LocalSettings) -> str:
    """Return the request that ``run_on_node`` reads. Folders and interpreters stay here."""
    sent: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name not in STAYS_HERE and (value is None or isinstance(value, _SENT)):
            sent[field.name] = value
    sent["checkpoints"] = settings.checkpoints is not None
    return json.dumps({"version": __version__, "trial": trial.content(), "settings": sent})


def run_on_node(request: str) -> Iterator[Answer]:
    """Yield the node before the launch starts; then its record, with its checkpoint's bytes."""
    import ray

    # Else this launch would go on after the node's end, when another node runs it again.
    die_with_parent()
    node_id = ray.get_runtime_context().get_node_id()
    yield json.dumps({"node": platform.node(), "node_id": node_id}), None
    content = json.loads(request)
    settings, version = content["settings"], content["version"]
    trial = Trial.model_validate(content["trial"])
    if version != __version__:
        problem = f"node {platform.node()} runs harness {__version__}, this sweep {version}"
        reason = f"{problem}: install the same version on every node"
        yield _answer(RecordBuilder(trial).record("failed", reason))
        return
    temporary: contextlib.AbstractContextManager[str | None] = contextlib.nullcontext()
    if settings.pop("checkpoints"):
        temporary = tempfile.TemporaryDirectory(prefix="harness-")
    with temporary as folder:
        record = _launched(trial, _settings(settings, folder))
        yield _answer(record, folder)


def _settings(content: dict[str, Any], folder: str | None) -> LocalSettings:
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }
    return LocalSettings(**settings, checkpoints=None if folder is None else Path(folder))


def _launched(trial: Trial, settings: LocalSettings) -> Record:
    plugins = load_plugins(settings.block)
    try:
        plugins.backend(trial.backend)
        plugins.task(trial.task)
        plugins.cell(trial.cell)
    except HarnessError as error:
        problem = f"node {platform.node()} lacks a plugin: {error}"
        reason = f"{problem} Install the same plugins on every node"
        return RecordBuilder(trial).record("failed", reason)
    with StopRequest() as never:
        record = Launch(trial, settings, lambda *_: None, never).run(plugins)
    return _flagged(record)


def _flagged(record: Record) -> Record:
    """Flag a launch to which Ray gave a lower priority than the node has."""
    own, node = os.getpriority(os.PRIO_PROCESS, 0), os.getpriority(os.PRIO_PROCESS, os.getppid())
    if own <= node:
        return record
    flags = [*record.details.get("flags", ()), SLOWED.format(own)]
    return replace(record, details={**record.details, "flags": flags})


def _answer(record: Record, folder: str | None = None) -> Answer:
    """Return the record as JSON, without the checkpoint's path on the node, and the checkpoint."""
    path = record.details.get("checkpoint")
    weights = Path(path).read_bytes() if folder is not None and path else None
    details = {name: value for name, value in record.details.items() if name != "checkpoint"}
    return json.dumps(replace(record, details=details).to_json(), allow_nan=False), weights
