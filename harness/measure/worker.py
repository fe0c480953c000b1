"""The worker process: it reads a request on stdin and writes events as JSON lines to a pipe.

The executor starts it as ``python -P -m harness.measure.worker FD`` in its own session. FD is the
pipe's number. The executor holds stdin open: when that closes, the executor has ended, and the
reaper ends all of this session.
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

from harness.measure.reaper import end_descendants, start_reaper

ALWAYS_SENT = ("checkpoint", "sample_length", "block")  # every version understands them


def request_line(trial: Any, settings: Any) -> bytes:
    """Return the request that ``main`` reads: one line of JSON.

    Other settings are left out if they are at their defaults, and so is the interpreter's name.
    The worker of an older harness then understands the request.
    """
    defaults = asdict(type(settings)())
    sent = {
        name: value
        for name, value in asdict(settings).items()
        if name in ALWAYS_SENT or value != defaults[name]
    }
    trial = trial.model_copy(update={"python": None})
    return json.dumps({"trial": trial.content(), "settings": sent}).encode() + b"\n"


def main() -> NoReturn:
    """Run the trial of the request, then end at once, without a plugin's exit handlers.

    After a request with isolation ``backend`` another may follow, if the trial ended well.
    """
    pipe = int(sys.argv[1])
    os.set_inheritable(pipe, False)
    start_reaper(pipe)
    requests, status, again = _own_stdin(), 0, True
    try:
        with os.fdopen(pipe, "w", encoding="utf-8") as out:
            while again and (line := requests.readline()):
                request = json.loads(line)
                settings = request["settings"]
                if affinity := settings.get("affinity"):
                    os.sched_setaffinity(0, affinity)  # before an import starts threads
                ended_well = _run(request, out) == "ok"
                again = ended_well and settings.get("isolation", "launch") != "launch"
                gc.collect()
    except BrokenPipeError:  # the parent has closed the pipe
        status = 1
    finally:
        end_descendants()
    _flush()
    os._exit(status)


def _own_stdin() -> BinaryIO:
    """Return stdin. Anything else that reads it finds nothing."""
    requests, nowhere = os.fdopen(os.dup(0), "rb"), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    return requests


def _run(request: Mapping[str, Any], out: TextIO) -> str:
    """Write all events of the trial, and return its status."""
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
