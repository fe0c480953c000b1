"""Who is being loaded now: kept in a small file meanwhile, so that the next command can name what ended this one.

A plugin may end the process by a segmentation fault, or never come to an end.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from harness.contract.names import printable, shortened

SLOW_SECONDS = 10.0  # after which a plugin that is still being loaded is named on stderr
LONGEST = 200


@contextlib.contextmanager
def being_loaded(name: str, distribution: str) -> Iterator[None]:
    """Keep the plugin's name in a file, and say on stderr if it takes long, or by Ctrl-C."""
    label, way_out = f"plugin {name!r} (from {distribution})", f"-p no:{name} leaves it out"
    path = _write({"name": name, "label": label})
    slow = threading.Timer(SLOW_SECONDS, _say, [f"{label} takes over {SLOW_SECONDS:.0f} s to load; {way_out}"])
    slow.daemon = True
    slow.start()
    try:
        yield
    except KeyboardInterrupt:
        _say(f"interrupted while {label} was loaded; {way_out}")
        raise
    finally:
        slow.cancel()
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()


def say_who_ended_the_last(blocked: tuple[str, ...] = ()) -> None:
    """Say which plugins were being loaded when a command ended that is no longer there, and forget them."""
    for session, pid in _left():
        content = _take(session, pid)
        if content and content["name"] not in blocked:
            told = f"the last command ended while it loaded {content['label']}; -p no:{content['name']} leaves it out"
            _say(f"note: {told}")


def who_ended(session: int) -> str | None:
    """Return the label of the plugin that was being loaded when a process of this session ended, and forget it."""
    for found, pid in _left():
        if found == session and (content := _take(found, pid)):
            return content["label"]
    return None


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "rnn-harness" / "loading"


def _path(session: int, pid: int) -> Path:
    return _folder() / f"{platform.node()}.{session}.{pid}"


def _write(content: dict[str, str]) -> Path | None:
    """Return the file that holds the content now; None where it cannot be written."""
    try:
        path = _path(_session(), os.getpid())
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    except (OSError, RuntimeError):  # no home, or nothing can be written there
        return None
    return path


def _left() -> list[tuple[int, int]]:
    """Return session and process of each file of this machine whose process is gone."""
    found = []
    with contextlib.suppress(OSError, RuntimeError):
        for path in _folder().glob(f"{platform.node()}.*"):
            session, _, pid = path.name.removeprefix(f"{platform.node()}.").partition(".")
            if session.isdecimal() and pid.isdecimal() and not _lives(int(pid)):
                found.append((int(session), int(pid)))
    return found


def _take(session: int, pid: int) -> dict[str, str] | None:
    path = _path(session, pid)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        return {name: printable(shortened(content[name], LONGEST)) for name in ("name", "label")}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _session() -> int:
    return os.getsid(0) if hasattr(os, "getsid") else 0


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's, or a system that cannot tell
        return True
    return True


def _say(text: str) -> None:
    with contextlib.suppress(Exception):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
