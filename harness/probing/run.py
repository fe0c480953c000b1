"""Runs one probe in a process of its own, and ends that at its time limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.contract.records.probed import STEP
from harness.contract.wording import shortened
from harness.plugins import Plugins

START_SECONDS = 60.0  # for the process to start and to prepare the data of the task, at most
LONGEST = 300  # characters of what the process printed last


def run_probe(plugins: Plugins, name: str, weights: Mapping[int, Path]) -> dict[str, Any]:
    """Return what a probe measures of one network, as JSON values.

    It has ``version`` and ``distribution`` of the probe, and ``measured_at``; ``figures``,
    ``curves`` and ``seconds`` of the trained network, or why the probe ``failed``. With several
    files it also has ``over_training``: figure -> its series over the steps of training; and
    ``failed_at``: step -> why the probe failed there.

    Args:
        plugins: as loaded.
        name: of the probe.
        weights: step of training -> the file of the weights then; the last is the trained network.

    Raises:
        UnknownNameError: no plugin offers the probe.
    """
    probe = plugins.probe(name)
    *earlier, final = _results(plugins, name, list(weights.values()))
    content = {
        "version": probe.version,
        "distribution": plugins.distribution_of("probe", name),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **final,
    }
    if not earlier or "failed" in final:
        return content
    steps, of_steps = list(weights), [*earlier, final]
    content["over_training"] = {
        figure: {
            "along": STEP,
            "at": steps,
            "values": [result.get("figures", {}).get(figure) for result in of_steps],
        }
        for figure in probe.figures
    }
    failures = {
        str(step): result["failed"]
        for step, result in zip(steps, of_steps, strict=True)
        if "failed" in result
    }
    return content | ({"failed_at": failures} if failures else {})


def _results(plugins: Plugins, name: str, checkpoints: Sequence[Path]) -> list[dict[str, Any]]:
    """Return a result per checkpoint.

    One process measures all of them. If it ends early, another one goes on after the checkpoint at
    which that happened.
    """
    results: list[dict[str, Any]] = []
    seconds = float(plugins.probe(name).seconds)
    with TemporaryDirectory() as folder:
        output = Path(folder) / "results.jsonl"
        while left := checkpoints[len(results) :]:
            request = {
                "checkpoints": [str(path.resolve()) for path in left],
                "probe": name,
                "block": plugins.blocked,
                "output": str(output),
            }
            output.unlink(missing_ok=True)
            ending = _run(json.dumps(request), seconds, len(left))
            measured = _read(output)
            results += measured
            if len(measured) < len(left):
                results.append({"failed": f"{ending}; {plugins.label('probe', name)}"})
    return results


def _read(output: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file of results; [] if there is no file."""
    try:
        text = output.read_text(encoding="utf-8")
    except OSError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _run(request: str, seconds: float, networks: int) -> str:
    """Run the process to its end; return how it ended, in words.

    Args:
        request: what it reads.
        seconds: the longest that the probe may take for one network.
        networks: how many it measures.
    """
    longest = networks * (START_SECONDS + seconds)
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
        _, printed = process.communicate(timeout=longest)
    except subprocess.TimeoutExpired:
        return f"it took over {longest:g} s"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode == -signal.SIGALRM:
        return f"it took over {seconds:g} s"
    last = shortened(" ".join(printed.split())[-LONGEST:])
    return f"its process ended with status {process.returncode}" + (f": {last}" if last else "")
