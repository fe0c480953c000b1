"""The options of ``harness run`` that say where launches run: in processes of this machine, or on a cluster."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich_click as click

from harness.contract import UsageError

if TYPE_CHECKING:
    from harness.execute.executor import Executor

LOCAL = "local"
_OF_A_CLUSTER = ("address", "resources", "labels")
_OF_THIS_MACHINE = {"affinity": "processors", "pythons": "interpreters", "gpus": "cards"}
_OF_LOCAL_RUNS = {"jobs": 1, "isolation": "launch"}  # option -> its default


def executor_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


_OPTIONS = (
    click.option(
        "--executor",
        type=click.Choice([LOCAL, "ray"]),
        default=LOCAL,
        help="Run here, or on a Ray cluster.  [default: local]",
    ),
    click.option(
        "--address",
        metavar="HOST:PORT|auto|local",
        help="The cluster's head; local starts one here.  [default: auto]",
    ),
    click.option(
        "--resources",
        multiple=True,
        metavar="NAME=AMOUNT",
        help="Custom resources of the cluster that launches need.",
    ),
    click.option(
        "--labels",
        multiple=True,
        metavar="NAME=VALUE",
        help="Labels that the cluster's nodes must carry.",
    ),
)


def cluster_of(options: Mapping[str, Any]) -> str | None:
    """Return the kind of cluster on whose nodes launches run; None: here."""
    return None if options["executor"] == LOCAL else str(options["executor"])


def executor_of(options: Mapping[str, Any]) -> Executor:
    """Return the executor that the options ask for.

    Raises:
        UsageError: an option does not go with the executor, or cannot be read; all at once.
    """
    if options["executor"] == LOCAL:
        from harness.execute.local import run_trials

        if given := [f"--{name}" for name in _OF_A_CLUSTER if options[name]]:
            raise UsageError(
                f"{', '.join(given)}: only a cluster has that; add --executor ray, or leave it out"
            )
        return run_trials
    from harness.execute.ray.cluster import AUTO, check_ray
    from harness.execute.ray.executor import RayExecutor
    from harness.execute.ray.needs import Wishes

    for name, what in _OF_THIS_MACHINE.items():
        if options[name]:
            flag = f"--{'python' if name == 'pythons' else name}"
            raise UsageError(
                f"{flag} names {what} of this machine, which nodes of a cluster lack: leave it out"
            )
    for name, usual in _OF_LOCAL_RUNS.items():
        if options[name] != usual:
            raise UsageError(
                f"--{name} is for runs on this machine: a cluster places launches itself; leave it out"
            )
    address = options["address"] or AUTO
    check_ray(address)
    resources = {
        name: _amount(name, value)
        for name, value in _pairs("--resources", options["resources"]).items()
    }
    return RayExecutor(address, Wishes(resources, _pairs("--labels", options["labels"])))


def _pairs(option: str, settings: Sequence[str]) -> dict[str, str]:
    """Return name -> value of comma lists such as ``a=1,b=2``."""
    found: dict[str, str] = {}
    for setting in (piece.strip() for text in settings for piece in text.split(",")):
        name, equals, value = setting.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} {setting!r}: write NAME=VALUE, and several with commas")
        if name in found:
            raise UsageError(f"{option} names {name!r} twice: leave one of them out")
        found[name] = value
    return found


def _amount(name: str, text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not 0 < amount < math.inf or name in {"CPU", "GPU"}:
        fix = (
            "--threads and --device ask for processors and cards"
            if name in {"CPU", "GPU"}
            else "a number above 0"
        )
        raise UsageError(f"--resources {name}={text}: {fix}; for a word, use --labels")
    return amount
