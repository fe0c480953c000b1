"""One worker process in its own session: its environment, its pipes and its end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping

import psutil

from harness.contract import Backend, Trial
from harness.contract.accelerators import gpu_variables
from harness.execute.interpreters import foreign_environment
from harness.measure.machine.verification import THREAD_VARIABLES
from harness.plugins import Plugins, query

PYTHON_VARIABLES = {"PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0"}
REAP_SECONDS = 5.0


def worker_environment(trial: Trial, plugins: Plugins, gpu: str | None = None) -> dict[str, str]:
    """Return the worker's whole environment. It limits threads and hides other GPUs."""
    backend = plugins.backends.get(trial.backend)
    environment = dict(os.environ) | PYTHON_VARIABLES
    environment |= thread_variables(backend, trial.threads, trial.devices)
    if gpu is not None:
        environment |= gpu_variables(gpu)
    if trial.python is not None:
        environment = foreign_environment(environment)
    if "PYTHONPATH" in environment:  # an empty entry would mean the working directory
        entries = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, entries))
    return environment


def thread_variables(backend: Backend | None, threads: int, devices: int = 1) -> dict[str, str]:
    """Return the variables that limit the threads of every library, and the backend's own."""
    several = (devices,) if backend is not None and backend.data_parallel and devices > 1 else ()
    own = {} if backend is None else query.environment(backend, threads, *several)
    return {name: str(threads) for name in THREAD_VARIABLES} | own


class Worker:
    """A running ``harness.measure.worker``.

    Attributes:
        events: descriptor to read the JSON lines from.
        log: descriptor to read its output from.
        exited: descriptor that becomes readable when the process has ended.
        reusable: whether it waits for another request.
    """

    def __init__(
        self, request: bytes, environment: Mapping[str, str], python: str = sys.executable
    ) -> None:
        self.events, events_end = os.pipe()
        self.log, log_end = os.pipe()
        try:
            self.process = subprocess.Popen(
                [python, "-P", "-m", "harness.measure.worker", str(events_end)],
                stdin=subprocess.PIPE,
                stdout=log_end,
                stderr=log_end,
                env=dict(environment),
                pass_fds=(events_end,),
                start_new_session=True,
            )
        except BaseException:
            os.close(self.events)
            os.close(self.log)
            raise
        finally:
            os.close(events_end)
            os.close(log_end)
        os.set_blocking(self.events, False)
        os.set_blocking(self.log, False)
        self.exited = _exit_descriptor(self.process)
        self.reusable = False
        self.send(request)

    def send(self, request: bytes) -> None:
        """Write the request. Stdin stays open: its end tells the worker's reaper to end all."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), _without_broken_pipe_signal():
                rest = memoryview(request)
                while rest:  # unbuffered: closing the pipe must not write to a dead worker
                    rest = rest[os.write(self.process.stdin.fileno(), rest) :]

    def stop(self, grace_seconds: float) -> None:
        """Send SIGTERM to the group, wait, then SIGKILL to all descendants that are left."""
        if grace_seconds:
            self._signal(signal.SIGTERM)
            select.select([self.exited], [], [], grace_seconds)
        self.reap()

    def reap(self) -> int:
        """Kill all that is left, and return the exit status, negative for a signal."""
        self._hang_up()
        select.select([self.exited], [], [], REAP_SECONDS)
        # Some are left if the reaper was stopped, or if the worker's harness is older.
        for process in self._descendants():
            with contextlib.suppress(psutil.Error):
                process.kill()
        # Before waiting: until then the group's number cannot belong to another process.
        self._signal(signal.SIGKILL)
        try:
            return self.process.wait(REAP_SECONDS)
        except subprocess.TimeoutExpired:  # stuck inside the kernel
            return -signal.SIGKILL

    def _hang_up(self) -> None:
        """Close stdin: it tells the worker's reaper to end all its descendants."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, number)

    def _descendants(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            return []

    def close(self) -> None:
        """End the process if it still runs, and close the descriptors."""
        if self.process.returncode is None:
            self.reap()
        for descriptor in (self.events, self.log, self.exited):
            os.close(descriptor)


@contextlib.contextmanager
def _without_broken_pipe_signal() -> Iterator[None]:
    """Let a write to a closed pipe raise an error only: SIGPIPE ends the command line."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
    try:
        yield
    finally:
        if signal.SIGPIPE in signal.sigpending():
            signal.sigwait({signal.SIGPIPE})
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_descriptor(process: subprocess.Popen[bytes]) -> int:
    """Return a descriptor that becomes readable when the process has ended."""
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            return os.pidfd_open(process.pid)
    read, write = os.pipe()

    def wait() -> None:
        process.wait()
        os.close(write)

    threading.Thread(target=wait, daemon=True).start()
    return read
