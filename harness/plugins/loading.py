"""Names the plugin that hangs or ends the process while it is loaded.

Its name is in a small file meanwhile. If the process dies, the next command reads the file.
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

from harness.contract.wording import printable, shortened

SLOW_SECONDS = 10.0  # a plugin that loads more slowly is named on stderr
LONGEST = 200  # characters of a plugin's name or label


@contextlib.contextmanager
def being_loaded(name: str, distribution: str) -> Iterator[None]:
    """Keep the plugin's name in a file. Name it on stderr if it is slow, or at Ctrl-C."""
    label, way_out = f"plugin {name!r} (from {distribution})", f"-p no:{name} leaves it out"
    path = _write({"name": name, "label": label})
    slow = threading.Timer(
        SLOW_SECONDS, _say, [f"{label} takes over {SLOW_SECONDS:.0f} s to load; {way_out}"]
    )
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
    """Name on stderr the plugins whose loading ended an earlier command. Delete their files."""
    for session, pid in _of_dead_processes():
        content = _take(session, pid)
        if content and content["name"] not in blocked:
            way_out = f"-p no:{content['name']} leaves it out"
            _say(f"note: the last command ended while it loaded {content['label']}; {way_out}")


def who_ended(session: int) -> str | None:
    """Return the label of the plugin whose loading ended a process of this session, if any.

    The file with its name is deleted.
    """
    for owner, pid in _of_dead_processes():
        if owner == session and (content := _take(owner, pid)):
            return content["label"]
    return None


def _folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return cache.expanduser() / "rnn-harness" / "loading"


def _path(session: int, pid: int) -> Path:
    return _folder() / f"{platform.node()}.{session}.{pid}"


def _write(content: dict[str, str]) -> Path | None:
    """Write the content to the file of this process. Return its path; None if that failed."""
    try:
        path = _path(_session(), os.getpid())
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    except (OSError, RuntimeError):  # no home, or nothing can be written there
        return None
    return path


def _of_dead_processes() -> list[tuple[int, int]]:
    """Return session and process of each file of this machine whose process has died."""
    dead = []
    with contextlib.suppress(OSError, RuntimeError):
        for path in _folder().glob(f"{platform.node()}.*"):
            session, _, pid = path.name.removeprefix(f"{platform.node()}.").partition(".")
            if session.isdecimal() and pid.isdecimal() and not _lives(int(pid)):
                dead.append((int(session), int(pid)))
    return dead


def _take(session: int, pid: int) -> dict[str, str] | None:
    """Read and delete the file of a process."""
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
    except OSError:  # another user's process, or an unknown one
        return True
    return True


def _say(text: str) -> None:
    with contextlib.suppress(Exception):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
