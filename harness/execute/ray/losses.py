"""Status and reason of a launch that has no record because Ray or a node failed."""

from __future__ import annotations

from typing import Any, NamedTuple

_LOST = (
    "WorkerCrashedError",
    "NodeDiedError",
    "LocalRayletDiedError",
    "RayletDiedError",
    "ObjectLostError",
    "OwnerDiedError",
    "GetTimeoutError",
)


class Loss(NamedTuple):
    """How a launch was lost.

    Attributes:
        status: of its record.
        reason: of its record.
        again: whether it may succeed on another node.
    """

    status: str
    reason: str
    again: bool


def loss_of(ray: Any, error: BaseException, node: str | None) -> Loss:
    """Return how an error of Ray ended the launch on ``node`` (None: it had not started)."""
    where, name = f"node {node}" if node else "a node", type(error).__name__
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        reason = f"out of memory: Ray killed the launch on {where}: {_first_line(error)}"
        return Loss("out_of_memory", reason, False)
    if isinstance(error, ray.exceptions.TaskCancelledError):
        return Loss("interrupted", "the cluster cancelled the launch", False)
    if isinstance(error, ray.exceptions.RayTaskError):
        fix = "install the same harness and the same plugins on every node"
        return Loss("failed", f"{where} could not run the launch: {_cause(error)}; {fix}", False)
    kinds = [kind for lost in _LOST if (kind := getattr(ray.exceptions, lost, None))]
    if isinstance(error, (StopIteration, *kinds)):
        return Loss("crashed", f"crashed ({where}, or Ray's process on it, was lost: {name})", True)
    return Loss("failed", f"Ray could not run the launch: {name}: {_first_line(error)}", False)


def _cause(error: Any) -> str:
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {_first_line(cause)}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:500]
