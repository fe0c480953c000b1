"""What runs on a node of a cluster: one launch in a worker process of our own. JSON comes in, JSON and weights go out.

Never in the process that Ray lends us: that one is reused, and its libraries have their threads set
already.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from harness.contract import HarnessError, Record, Trial
from harness.execute.launch import Launch
from harness.execute.settings import LocalSettings
from harness.execute.stop import StopRequest
from harness.measure.record_builder import RecordBuilder
from harness.plugins import load_plugins
from harness.version import __version__

Answer = tuple[str, bytes | None]
_TOLD = (bool, int, float, str, tuple, Mapping)  # the settings that travel are of these types
_PARENT_DEATH_SIGNAL = 1  # of Linux's prctl
SLOWED = "ran at a lower priority (nice {}): start the nodes with RAY_worker_niceness=0"


def request_of(trial: Trial, settings: LocalSettings) -> str:
    """Return what ``run_on_node`` is told; folders and interpreters of this machine stay here."""
    told = {
        field.name: getattr(settings, field.name)
        for field in fields(settings)
        if field.name != "pythons"
    }
    told = {
        name: value for name, value in told.items() if value is None or isinstance(value, _TOLD)
    }
    told["checkpoints"] = settings.checkpoints is not None
    return json.dumps({"version": __version__, "trial": trial.content(), "settings": told})


def run_on_node(request: str) -> Iterator[Answer]:
    """Yield where the launch runs before it starts; then its record, with the bytes of its checkpoint."""
    import ray

    _die_with_the_node()
    yield (
        json.dumps({"node": platform.node(), "node_id": ray.get_runtime_context().get_node_id()}),
        None,
    )
    told = json.loads(request)
    trial = Trial.model_validate(told["trial"])
    if told["version"] != __version__:
        reason = f"node {platform.node()} runs harness {__version__}, this sweep {told['version']}"
        yield _answer(
            RecordBuilder(trial).record(
                "failed", f"{reason}: install the same version on every node"
            )
        )
        return
    keep = told["settings"].pop("checkpoints")
    with (
        tempfile.TemporaryDirectory(prefix="harness-")
        if keep
        else contextlib.nullcontext() as folder
    ):
        record = _launched(trial, _settings(told["settings"], folder))
        yield _answer(record, folder)


def _die_with_the_node() -> None:
    """Let the kernel end the process that Ray lent us, and our worker with it, when the node's own process ends.

    Ray would leave it alone until its launch is over, while another node runs that launch already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _settings(told: dict[str, Any], folder: str | None) -> LocalSettings:
    content: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in told.items()
    }
    return LocalSettings(**content, checkpoints=None if folder is None else Path(folder))


def _launched(trial: Trial, settings: LocalSettings) -> Record:
    plugins = load_plugins(settings.block)
    try:
        for find, name in (
            (plugins.backend, trial.backend),
            (plugins.task, trial.task),
            (plugins.cell, trial.cell),
        ):
            find(name)
    except HarnessError as error:
        reason = (
            f"node {platform.node()} lacks a plugin: {error} Install the same plugins on every node"
        )
        return RecordBuilder(trial).record("failed", reason)
    with StopRequest() as never:
        record = Launch(trial, settings, lambda *_: None, never).run(plugins)
    return _flagged(record)


def _flagged(record: Record) -> Record:
    """Flag a launch that Ray made nicer than the node itself is."""
    own, node = os.getpriority(os.PRIO_PROCESS, 0), os.getpriority(os.PRIO_PROCESS, os.getppid())
    if own <= node:
        return record
    flags = [*record.details.get("flags", ()), SLOWED.format(own)]
    return replace(record, details={**record.details, "flags": flags})


def _answer(record: Record, folder: str | None = None) -> Answer:
    """Return the record as JSON, and its checkpoint; the path of the node's own copy, which goes, is left out."""
    path = record.details.get("checkpoint")
    weights = Path(path).read_bytes() if folder is not None and path else None
    details = {name: value for name, value in record.details.items() if name != "checkpoint"}
    return json.dumps(replace(record, details=details).to_json(), allow_nan=False), weights
