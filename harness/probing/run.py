"""Runs one probe in a process of its own, and ends it at its time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.contract.wording import shortened
from harness.plugins import Plugins

START_SECONDS = 60.0  # for the process to start and to prepare the data of the task, at most
LONGEST = 300  # characters of what the process printed last


def run_probe(plugins: Plugins, name: str, checkpoint: Path) -> dict[str, Any]:
    """Return the result of a probe as JSON values.

    It has ``version`` and ``distribution`` of the probe; ``figures``, ``curves`` and ``seconds``,
    or why it ``failed``.

    Raises:
        UnknownNameError: no plugin offers the probe.
    """
    probe = plugins.probe(name)
    origin = {
        "version": probe.version,
        "distribution": plugins.distribution_of("probe", name),
    }
    with TemporaryDirectory() as folder:
        output = Path(folder) / "result.json"
        request = {
            "checkpoint": str(checkpoint.resolve()),
            "probe": name,
            "block": plugins.blocked,
            "output": str(output),
        }
        ending = _run(json.dumps(request), float(probe.seconds))
        try:
            result: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            result = {"failed": f"{ending}; {plugins.label('probe', name)}"}
    return origin | result


def _run(request: str, seconds: float) -> str:
    """Run the process to its end; return how it ended, in words."""
    command = [sys.executable, "-P", "-m", "harness.probing.worker", request]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        _, printed = process.communicate(timeout=START_SECONDS + seconds)
    except subprocess.TimeoutExpired:
        return f"it took over {START_SECONDS + seconds:g} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode == -signal.SIGALRM:
        return f"it took over {seconds:g} s"
    last = shortened(" ".join(printed.split())[-LONGEST:])
    return f"its process ended with status {process.returncode}" + (f": {last}" if last else "")
