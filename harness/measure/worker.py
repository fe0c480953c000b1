"""The worker process: a request on stdin, a trial, events as JSON lines on a pipe of their own. Never on stdout.

The executor starts it as ``python -P -m harness.measure.worker FD`` in a session of its own, with
FD the pipe's number, and keeps its end of stdin open: when that closes, the executor is gone, and
the reaper ends all of this session.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, BinaryIO, NoReturn, TextIO

from harness.measure.reaper import end_descendants, keep

KNOWN = ("checkpoint", "sample_length", "block")  # settings that every version understands


def request_line(trial: Any, settings: Any) -> bytes:
    """Return the request that ``main`` reads: one line of JSON.

    Settings that version 0.1.0 does not know are left out at their defaults, and so is the
    interpreter's name, so that its worker understands what it can do.
    """
    usual = asdict(type(settings)())
    told = {
        name: value
        for name, value in asdict(settings).items()
        if name in KNOWN or value != usual[name]
    }
    trial = trial.model_copy(update={"python": None})
    return json.dumps({"trial": trial.content(), "settings": told}).encode() + b"\n"


def main() -> NoReturn:
    """Run the trial that stdin asks for, then end at once: no plugin's threads or exit handlers are waited for.

    A request with isolation ``backend`` may be followed by another one, as long as all goes well.
    """
    pipe = int(sys.argv[1])
    os.set_inheritable(pipe, False)
    keep(pipe)
    requests, status, again = _own_stdin(), 0, True
    try:
        with os.fdopen(pipe, "w", encoding="utf-8") as out:
            while again and (line := requests.readline()):
                request = json.loads(line)
                if affinity := request["settings"].get("affinity"):
                    os.sched_setaffinity(
                        0, affinity
                    )  # before anything is imported that starts threads
                again = (
                    _run(request, out) == "ok"
                    and request["settings"].get("isolation", "launch") != "launch"
                )
                gc.collect()
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


def _run(request: Mapping[str, Any], out: TextIO) -> str:
    """Tell all events of the trial, and return how it ended."""
    from harness.contract import Trial
    from harness.measure.events import Finished, to_json
    from harness.measure.runner import Settings, run_trial

    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in request["settings"].items()
    }
    status = ""
    for event in run_trial(Trial.model_validate(request["trial"]), Settings(**settings)):
        out.write(json.dumps(to_json(event), allow_nan=False) + "\n")
        out.flush()
        status = event.record.status if isinstance(event, Finished) else status
    return status


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


if __name__ == "__main__":
    main()
