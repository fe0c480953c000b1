"""The worker process: one request on stdin, one trial, events as JSON lines on a pipe of their own. Never on stdout.

The executor starts it as ``python -P -m harness.measure.worker FD`` in a session of its own, with FD the pipe's number,
and keeps its end of stdin open: when that closes, the executor is gone, and nothing of this session may live on.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NoReturn

LARGEST_DESCRIPTOR = 4096
KNOWN = ("checkpoint", "sample_length", "block")  # settings that every version understands


def request_line(trial: Any, settings: Any) -> bytes:
    """Return the request that ``main`` reads: one line of JSON.

    Settings that version 0.1.0 does not know are left out at their defaults, and so is the interpreter's name, so that
    its worker understands what it can do.
    """
    usual = asdict(type(settings)())
    told = {name: value for name, value in asdict(settings).items() if name in KNOWN or value != usual[name]}
    trial = trial.model_copy(update={"python": None})
    return json.dumps({"trial": trial.content(), "settings": told}).encode() + b"\n"


def main() -> NoReturn:
    """Run the one trial that stdin asks for, then end at once: no plugin's threads or exit handlers are waited for."""
    pipe = int(sys.argv[1])
    os.set_inheritable(pipe, False)
    line = sys.stdin.buffer.readline()
    _guard_session()
    status = 0
    try:
        request = json.loads(line)
        if affinity := request["settings"].get("affinity"):
            os.sched_setaffinity(0, affinity)  # before anything is imported that starts threads
        _run(request, pipe)
    except BrokenPipeError:  # nobody listens any more
        status = 1
    finally:
        _kill_descendants(os.getpid())
    _flush()
    os._exit(status)


def _run(request: Mapping[str, Any], pipe: int) -> None:
    from harness.contract import Trial
    from harness.measure.events import to_json
    from harness.measure.runner import Settings, run_trial

    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in request["settings"].items()
    }
    with os.fdopen(pipe, "w", encoding="utf-8") as out:
        for event in run_trial(Trial.model_validate(request["trial"]), Settings(**settings)):
            out.write(json.dumps(to_json(event), allow_nan=False) + "\n")
            out.flush()


def _guard_session() -> None:
    """Leave a child behind that kills the worker and everything it started when stdin closes.

    A process, not a thread: a plugin that hangs while it holds the interpreter's lock cannot stop it. It sleeps in one
    read and costs the measurement nothing.
    """
    worker = os.getpid()
    if os.fork():
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, 0)
        os.close(nowhere)
        return
    try:
        os.closerange(1, LARGEST_DESCRIPTOR)  # it must not hold the pipes open
        while os.read(0, 4096):
            pass
        _kill_descendants(worker)
    finally:
        with contextlib.suppress(OSError):
            os.killpg(0, signal.SIGKILL)
        os._exit(0)


def _kill_descendants(worker: int) -> None:
    """Kill what the worker started, in sessions of their own too, but not this process itself."""
    import psutil

    for process in psutil.Process(worker).children(recursive=True):
        if process.pid != os.getpid():
            with contextlib.suppress(psutil.Error):
                process.kill()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


if __name__ == "__main__":
    main()
