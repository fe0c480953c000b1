"""One worker process in a session of its own: its environment set before it starts, watched, and killed whole."""

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
from harness.execute.interpreters import OWN_VARIABLES
from harness.measure.machine.verification import THREAD_VARIABLES
from harness.plugins import Plugins, query

PYTHON_VARIABLES = {"PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1", "PYTHONHASHSEED": "0"}
REAP_SECONDS = 5.0


def worker_environment(trial: Trial, plugins: Plugins, gpu: str | None = None) -> dict[str, str]:
    """Return the worker's whole environment: threads are bounded and gpus hidden before any import."""
    backend = plugins.backends.get(trial.backend)
    environment = dict(os.environ) | PYTHON_VARIABLES
    hidden = gpu_variables(gpu) if gpu is not None else {}
    environment |= thread_variables(backend, trial.threads, trial.devices) | hidden
    if trial.python is not None:
        environment = {
            name: value for name, value in environment.items() if name not in OWN_VARIABLES
        }
    if "PYTHONPATH" in environment:  # an empty entry would mean the working directory
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, environment["PYTHONPATH"].split(os.pathsep))
        )
    return environment


def thread_variables(backend: Backend | None, threads: int, devices: int = 1) -> dict[str, str]:
    """Return the variables that bound the threads of every library, and the backend's own."""
    several = (devices,) if backend is not None and backend.data_parallel and devices > 1 else ()
    own = {} if backend is None else query.environment(backend, threads, *several)
    return {name: str(threads) for name in THREAD_VARIABLES} | own


class Worker:
    """A running ``harness.measure.worker``.

    Attributes:
        events: descriptor to read the JSON lines from.
        log: descriptor to read what it prints from.
        exited: descriptor that becomes readable when the process is over.
        reusable: whether it waits for another request, and may be given one.
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
        """Write the request; stdin stays open, because its end means to the worker's reaper that we are gone."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), _without_broken_pipe_signal():
                rest = memoryview(request)
                while rest:  # unbuffered: what a dead worker has not taken is not tried again when the pipe is closed
                    rest = rest[os.write(self.process.stdin.fileno(), rest) :]

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM to the group, wait, SIGKILL to all that is left, descendants in other sessions included."""
        if grace_seconds:
            self._signal(signal.SIGTERM)
            select.select([self.exited], [], [], grace_seconds)
        self.reap()

    def reap(self) -> int:
        """Kill whatever is left and return the exit status, negative for a signal."""
        self._hang_up()
        select.select([self.exited], [], [], REAP_SECONDS)
        for (
            process
        ) in self._descendants():  # of a worker whose reaper was stopped, or is of an older harness
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._signal(
            signal.SIGKILL
        )  # before waiting: until then the group's number cannot belong to anyone else
        try:
            return self.process.wait(REAP_SECONDS)
        except subprocess.TimeoutExpired:  # stuck inside the kernel: it ends when that lets it go
            return -signal.SIGKILL

    def _hang_up(self) -> None:
        """Close stdin: it tells the worker's reaper to end everything below it."""
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
        """End the process, if it has not, and give the descriptors back."""
        if self.process.returncode is None:
            self.reap()
        for descriptor in (self.events, self.log, self.exited):
            os.close(descriptor)


@contextlib.contextmanager
def _without_broken_pipe_signal() -> Iterator[None]:
    """Let a write to a pipe that nobody reads be an error alone; the command line has the signal end it (``head``)."""
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
    """Return a descriptor that becomes readable when the process is over, which is left to be waited for on Linux."""
    if hasattr(os, "pidfd_open"):
        with contextlib.suppress(OSError):
            return os.pidfd_open(process.pid)
    read, write = os.pipe()

    def wait() -> None:
        process.wait()
        os.close(write)

    threading.Thread(target=wait, daemon=True).start()
    return read
