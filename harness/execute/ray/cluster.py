"""Connects to a Ray cluster, or starts one on this machine. Ray is imported here."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from harness.contract import UnavailableError, UsageError

LOCAL, AUTO = "local", "auto"
REACH_SECONDS = 5.0
_imported_closed = False  # whether Ray was imported with the settings of ``_CLOSED``
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # on every system, despite its name
# Ray reads these once in a process: a second cluster of it has the same token.
_CLOSED = {"RAY_AUTH_MODE": "token", "RAY_worker_niceness": "0", **_LOOPBACK_ONLY}
_TOKEN = secrets.token_hex(32)
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray prints news of nodes on stdout, which is for results: skip every line.
    "RAY_DEDUP_LOGS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    # A launch that asked for no GPU sees none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
}
_FIX = (
    "start one (ray start --head, docs/cluster.md), give it the token that it asks for "
    "(RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH), or take --address local "
    "to start one on this machine alone"
)


def check_ray(address: str) -> None:
    """Check the installation and the address without importing Ray.

    Raises:
        UnavailableError: Ray is not installed.
        UsageError: the address is malformed.
    """
    if find_spec("ray") is None:
        raise UnavailableError("--executor ray needs Ray: pip install 'rnn-harness[ray]'")
    host, colon, port = address.rpartition(":")
    if address not in (LOCAL, AUTO) and not (host and colon and port.isdigit() and "/" not in host):
        raise UsageError(
            f"--address {address!r}: write HOST:PORT of the head node, auto, "
            "or local to start one here"
        )


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect, and yield Ray. An existing connection is used; a cluster started here is ended.

    Raises:
        UsageError: there is no cluster, or it refuses the connection; or one is to start here, and
            Ray was imported before its settings could be made.
    """
    check_ray(address)
    _reach(address)
    imported = "ray" in sys.modules
    with _environment(address):
        import ray

        if ray.is_initialized():
            yield ray
            return
        _check_closed(address, imported=imported)
        try:
            with _own_handlers():
                ray.init(**_init_options(address))
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise UsageError(f"no Ray cluster at {address!r}: {error}; {_FIX}") from error
        try:
            yield ray
        finally:
            with _own_handlers():
                ray.shutdown()


def living_nodes(ray: Any) -> list[dict[str, Any]]:
    """Return the nodes that are alive."""
    return [node for node in ray.nodes() if node["Alive"]]


def _check_closed(address: str, *, imported: bool) -> None:
    """Check that Ray, if it was imported before, was imported with the settings of ``local``."""
    global _imported_closed  # noqa: PLW0603 (Ray reads them once in a process)
    if address == LOCAL and not imported:
        _imported_closed = True
    if address == LOCAL and not _imported_closed:
        raise UsageError(
            "Ray was imported before --address local could close the cluster to others: "
            "start it from a process that has not imported Ray, or connect to a cluster of your own"
        )


def _init_options(address: str) -> dict[str, Any]:
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": "error"}
    if address == LOCAL:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        options |= {"num_cpus": cpus, "include_dashboard": False}
    return options


def _reach(address: str) -> None:
    """Try the port first, because Ray waits for minutes."""
    if address in (LOCAL, AUTO):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"no Ray cluster at {address!r}: {error}; {_FIX}") from error


@contextmanager
def _environment(address: str) -> Iterator[None]:
    """Set what Ray reads when it starts: no usage reports; a cluster started here is private."""
    wanted = dict(_QUIET)
    if address == LOCAL:
        wanted |= _CLOSED
        if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
            wanted["RAY_AUTH_TOKEN"] = _TOKEN
    with _changed(wanted):
        yield


@contextmanager
def _changed(wanted: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep our signal handlers: Ray replaces them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            with contextlib.suppress(TypeError):  # a handler that was not set from Python
                signal.signal(number, handler)
