"""The worker's side of the ranks: torchrun starts them, and each gets its orders through a socket.

They live as long as this process, and serve every data-parallel trainer in it. No torch import
here.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from harness.contract import HarnessError
from harness_torch.parallel.wire import Arrays, Message, receive, send
from harness_torch.parallel.wire_format import error_of

START_SECONDS = 300.0  # to import torch on every rank, on a busy machine
GRACE_SECONDS = 2.0  # after one rank's failure, for the others to tell, or to be found dead
END_SECONDS = 5.0  # for torchrun to end by itself once a rank is dead
POLL_SECONDS = 0.1
LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
IN_LOG = "its own last words, and torchrun's, are in the log (`harness show`)"


class Ranks:
    """Processes under torchrun, in one process group: gloo on the CPU, NCCL on GPUs.

    Attributes:
        alive: whether they can still be asked.
        facts: the first message of each: rank, ranks, device and threads.
    """

    def __init__(self, count: int, kind: str, threads: int) -> None:
        self.alive, self._numbers, self._forgotten = True, 0, deque[int]()
        self._connections: list[socket.socket] = []
        folder = tempfile.mkdtemp(prefix="harness-")
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                path = str(Path(folder) / "ranks")
                listener.bind(path)
                listener.listen(count)
                command = _command(count, path, kind)
                self._torchrun = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, env=_environment(threads)
                )
                atexit.register(self.stop)
                self.facts = self._joined(listener, count)
        except BaseException:
            self.stop()
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def serve(self) -> bool:
        """Say whether they can still be asked: none has ended while it had nothing to do."""
        return self.alive and self._torchrun.poll() is None and not self._gone()

    def number(self) -> int:
        """Return a new number."""
        self._numbers += 1
        return self._numbers

    def forget(self, number: int) -> None:
        """Let the ranks drop a replica or batch, with the next message."""
        self._forgotten.append(number)

    def tell(
        self,
        content: dict[str, Any],
        arrays: Sequence[Arrays | None] | None = None,
        only: Sequence[int] = (),
    ) -> None:
        """Send a message to some or all, to each with its own arrays.

        Raises:
            HarnessError: the ranks have ended.
        """
        self._check_alive()
        if not only and self._forgotten:
            forget = [self._forgotten.popleft() for _ in range(len(self._forgotten))]
            content = {**content, "forget": forget}
        for rank in only or range(len(self._connections)):
            with contextlib.suppress(OSError):  # reading the answers reports the cause
                send(self._connections[rank], content, arrays[rank] if arrays else None)

    def ask(
        self,
        content: dict[str, Any],
        arrays: Sequence[Arrays | None] | None = None,
        only: Sequence[int] = (),
    ) -> list[Message]:
        """Send a message and return the answers of some or all, in the order of the ranks.

        Raises:
            HarnessError: a rank is gone, or met a ``HarnessError``.
            MemoryError, RuntimeError: a rank met another error.
        """
        self.tell(content, arrays, only)
        return self._replies(list(only) or list(range(len(self._connections))))

    def stop(self) -> None:
        """Kill torchrun and every rank."""
        self.alive = False
        atexit.unregister(self.stop)
        for connection in self._connections:
            connection.close()
        torchrun = getattr(self, "_torchrun", None)
        if torchrun is None:
            return
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(torchrun.pid)
            for process in [*parent.children(recursive=True), parent]:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        torchrun.wait()

    def _joined(self, listener: socket.socket, count: int) -> list[dict[str, Any]]:
        """Accept every rank; return their first messages, in order."""
        by_rank: dict[int, tuple[socket.socket, dict[str, Any]]] = {}
        deadline = time.monotonic() + START_SECONDS
        while len(by_rank) < count:
            if self._torchrun.poll() is not None:
                raise HarnessError(
                    f"torchrun ended with status {self._torchrun.returncode} "
                    f"before the ranks joined; {IN_LOG}"
                )
            if time.monotonic() > deadline:
                raise HarnessError(
                    f"{len(by_rank)} of {count} ranks joined within {START_SECONDS:g} s; {IN_LOG}"
                )
            if select.select([listener], [], [], POLL_SECONDS)[0]:
                connection, _ = listener.accept()
                self._connections.append(connection)
                message = receive(connection)
                if message is not None:
                    by_rank[message[0]["rank"]] = (connection, message[0])
        self._connections = [by_rank[rank][0] for rank in range(count)]
        return [by_rank[rank][1] for rank in range(count)]

    def _replies(self, wanted: list[int]) -> list[Message]:
        by_rank: dict[int, Message | None] = {}
        deadline: float | None = None
        while len(by_rank) < len(wanted):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            waiting = {self._connections[rank]: rank for rank in wanted if rank not in by_rank}
            ready, _, _ = select.select(list(waiting), [], [], left)
            for connection in ready:
                message = receive(connection)
                by_rank[waiting[connection]] = message
                if message is None or "error" in message[0]:
                    deadline = deadline or time.monotonic() + GRACE_SECONDS
            if not ready and left == 0.0:
                break
        return self._checked(by_rank, wanted)

    def _checked(self, by_rank: dict[int, Message | None], wanted: list[int]) -> list[Message]:
        """Return the answers, or raise the first error: a dead rank makes the others fail."""
        gone = [rank for rank, message in by_rank.items() if message is None]
        errors = [
            (rank, message[0])
            for rank, message in sorted(by_rank.items())
            if message and "error" in message[0]
        ]
        if gone or len(by_rank) < len(wanted) or any(words["fatal"] for _, words in errors):
            dead = gone or self._gone()
            if dead:
                self._hear_torchrun()
            self.stop()
            if dead:
                names = " and ".join(map(str, dead))
                raise HarnessError(
                    f"rank {names} of {len(self._connections)} ended in the middle of its work; "
                    f"{IN_LOG}"
                )
        for rank, words in errors:
            raise error_of(words["error"], rank)
        return [message for rank in wanted if (message := by_rank[rank]) is not None]

    def _hear_torchrun(self) -> None:
        """Let torchrun find the dead rank, say how it died, and end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._torchrun.wait(END_SECONDS)

    def _gone(self) -> list[int]:
        """Return the ranks whose socket has been closed without a word."""
        ready, _, _ = select.select(self._connections, [], [], 0)
        return [
            rank
            for rank, each in enumerate(self._connections)
            if each in ready and each.recv(1, socket.MSG_PEEK) == b""
        ]

    def _check_alive(self) -> None:
        if not self.alive:
            raise HarnessError(f"the ranks of this trainer have ended; {IN_LOG}")


_running: dict[tuple[int, str, int], Ranks] = {}


def running(count: int, kind: str, threads: int) -> Ranks:
    """Return this process's ranks for ``count`` devices of a kind; start them if there are none.

    Raises:
        HarnessError: they cannot be started.
    """
    key = (count, kind, threads)
    if key in _running and not _running[key].serve():
        _running.pop(key).stop()
    if key not in _running:
        _running[key] = Ranks(count, kind, threads)
    return _running[key]


def _command(count: int, path: str, kind: str) -> list[str]:
    """Return torchrun's command line: one node, all on loopback, a free port, no second try."""
    options = {
        "nnodes": "1", "nproc-per-node": str(count), "max-restarts": "0", "monitor-interval": "1",
        "rdzv-backend": "c10d", "rdzv-endpoint": "127.0.0.1:0", "local-addr": "127.0.0.1",
    }  # fmt: skip
    arguments = [f"--{name}={value}" for name, value in options.items()]
    launcher = (sys.executable, "-m", "torch.distributed.run", *arguments)
    return [*launcher, "-m", "harness_torch.parallel.rank", path, kind]


def _environment(threads: int) -> dict[str, str]:
    """Return this process's environment with the ranks' threads; loopback only, unless set."""
    defaults = {"GLOO_SOCKET_IFNAME": LOOPBACK, "NCCL_SOCKET_IFNAME": LOOPBACK, **os.environ}
    return defaults | {"OMP_NUM_THREADS": str(threads), "PYTHONSAFEPATH": "1"}
