"""What a launch needs of a node, and which nodes have it. Ray is not imported here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.contract import Trial
from harness.execute.slots import HOST


@dataclass(frozen=True)
class Wishes:
    """What the user asks of the nodes, for every launch.

    Attributes:
        resources: custom resources, name -> amount.
        labels: that a node must have, name -> value.
        patience_seconds: how long a launch waits while no node of the cluster can hold it.
    """

    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    patience_seconds: float = 30.0


@dataclass(frozen=True)
class Needs:
    """Processors, accelerators, custom resources and labels.

    Attributes:
        cpus: processors, one per thread.
        gpus: accelerators for this launch alone.
        resources: name -> amount.
        labels: name -> value that the node must have.
    """

    cpus: int = 1
    gpus: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def task_options(self) -> dict[str, Any]:
        """Return the options of a Ray task that needs this."""
        options: dict[str, Any] = {"num_cpus": self.cpus, "num_gpus": self.gpus}
        options["resources"] = dict(self.resources)
        if self.labels:
            options["label_selector"] = dict(self.labels)
        return options

    def fits(self, node: Mapping[str, Any]) -> bool:
        """Return whether a node of ``ray.nodes()`` can hold this when it is idle."""
        resources, labels = node.get("Resources", {}), node.get("Labels", {})
        enough = all(resources.get(name, 0) >= amount for name, amount in self._amounts().items())
        return enough and all(labels.get(name) == value for name, value in self.labels.items())

    def lacking(self, nodes: Iterable[Mapping[str, Any]]) -> str:
        """Return why no node can hold this, and the fix."""
        words = [f"{amount:g} {name}" for name, amount in self._amounts().items()]
        words += [f"{name}={value}" for name, value in self.labels.items()]
        have = "; ".join(sorted(self._words(node) for node in nodes)) or "there is none"
        fix = "start a node that can, or ask for less (--threads, --device, --resources, --labels)"
        problem = f"no node of the cluster can hold it: it needs {', '.join(words)}"
        return f"{problem}; the nodes have: {have}; {fix}"

    def _amounts(self) -> dict[str, float]:
        amounts = {"CPU": self.cpus, "GPU": self.gpus, **self.resources}
        return {name: amount for name, amount in amounts.items() if amount}

    def _words(self, node: Mapping[str, Any]) -> str:
        """Return what a node has of this."""
        resources = node.get("Resources", {})
        words = [f"{resources.get(name, 0):g} {name}" for name in self._amounts()]
        words += [f"{name}={node.get('Labels', {}).get(name, '')}" for name in self.labels]
        return f"{node.get('NodeManagerHostname')} {', '.join(words)}"


def needs_of(trial: Trial, wishes: Wishes) -> Needs:
    """Return what a trial needs: a processor per thread, and its accelerators if it has any."""
    gpus = 0 if trial.device.split(":")[0] == HOST else trial.devices
    return Needs(trial.processors, gpus, wishes.resources, wishes.labels)
