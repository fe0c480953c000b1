"""The worker process: one request on stdin, one trial, events as JSON lines on a pipe of their own. Never on stdout.

The executor starts it as ``python -P -m harness.measure.worker FD`` in a session of its own, with FD the pipe's number,
and keeps its end of stdin open: when that closes, the executor is gone, and the keeper ends all of this session.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, BinaryIO, NoReturn

from harness.measure.keeper import end_descendants, keep

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
    keep(pipe)
    requests, status = _own_stdin(), 0
    try:
        request = json.loads(requests.readline())
        if affinity := request["settings"].get("affinity"):
            os.sched_setaffinity(0, affinity)  # before anything is imported that starts threads
        _run(request, pipe)
    except BrokenPipeError:  # nobody listens any more
        status = 1
    finally:
        end_descendants()
    _flush()
    os._exit(status)


def _own_stdin() -> BinaryIO:
    """Return stdin for ourselves; whoever else reads it finds nothing."""
    requests, nowhere = os.fdopen(os.dup(0), "rb"), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    return requests


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


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


if __name__ == "__main__":
    main()
