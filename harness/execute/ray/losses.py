"""How a launch ended that gave no record because Ray, a node or a process of Ray's failed."""

from __future__ import annotations

from typing import Any, NamedTuple

_LOST = (
    "WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError", "RayletDiedError", "ObjectLostError",
    "OwnerDiedError", "GetTimeoutError",
)  # fmt: skip


class Loss(NamedTuple):
    """What became of a launch.

    Attributes:
        status: of its record.
        reason: of its record.
        again: whether another node may do better.
    """

    status: str
    reason: str
    again: bool


def loss_of(ray: Any, error: BaseException, node: str | None) -> Loss:
    """Return what an error of Ray's means for the launch that was running on ``node`` (None: it had not started)."""
    place = f"node {node}" if node else "a node"
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return Loss(
            "out_of_memory",
            f"out of memory: Ray killed the launch on {place}: {_first_line(error)}",
            False,
        )
    if isinstance(error, ray.exceptions.TaskCancelledError):
        return Loss("interrupted", "the cluster cancelled the launch", False)
    if isinstance(error, ray.exceptions.RayTaskError):
        fix = "install the same harness and the same plugins on every node"
        return Loss("failed", f"{place} could not run the launch: {_cause(error)}; {fix}", False)
    lost = isinstance(
        error, tuple(kind for name in _LOST if (kind := getattr(ray.exceptions, name, None)))
    )
    if lost or isinstance(error, StopIteration):
        return Loss(
            "crashed",
            f"crashed ({place}, or Ray's process on it, was lost: {type(error).__name__})",
            True,
        )
    return Loss(
        "failed",
        f"Ray could not run the launch: {type(error).__name__}: {_first_line(error)}",
        False,
    )


def _cause(error: Any) -> str:
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {_first_line(cause)}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "")[:500]
