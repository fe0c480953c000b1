"""What a launch needs of the node that runs it, and which nodes can ever give it. No Ray import here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.contract import Trial

NO_ACCELERATOR = "cpu"


@dataclass(frozen=True)
class Wishes:
    """What the user asks of the nodes, for every launch.

    Attributes:
        resources: custom resources, name -> amount.
        labels: that a node must carry, name -> value.
        patience_seconds: how long a launch waits while no node of the cluster can ever hold it.
    """

    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    patience_seconds: float = 30.0


@dataclass(frozen=True)
class Needs:
    """Processors, accelerators, custom resources and labels.

    Attributes:
        cpus: processors, one per thread.
        gpus: accelerators of its own.
        resources: name -> amount, as nodes were started with.
        labels: name -> value that the node must carry.
    """

    cpus: int = 1
    gpus: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    def task_options(self) -> dict[str, Any]:
        """Return the options of a Ray task that ask for this."""
        labels = {"label_selector": dict(self.labels)} if self.labels else {}
        return {
            "num_cpus": self.cpus,
            "num_gpus": self.gpus,
            "resources": dict(self.resources),
            **labels,
        }

    def fits(self, node: Mapping[str, Any]) -> bool:
        """Say whether a node, as ``ray.nodes()`` describes it, could hold this when it is idle."""
        there, labels = node.get("Resources", {}), node.get("Labels", {})
        enough = all(there.get(name, 0) >= amount for name, amount in self._amounts().items())
        return enough and all(labels.get(name) == value for name, value in self.labels.items())

    def lacking(self, nodes: Iterable[Mapping[str, Any]]) -> str:
        """Return why no node can hold this, and what helps."""
        there = "; ".join(sorted(self._told(node) for node in nodes)) or "there is none"
        asked = ", ".join(
            [*(f"{n:g} {name}" for name, n in self._amounts().items()), *self._label_words()]
        )
        fix = "start a node that can, or ask for less (--threads, --device, --resources, --labels)"
        return (
            f"no node of the cluster can hold it: it needs {asked}; the nodes have: {there}; {fix}"
        )

    def _amounts(self) -> dict[str, float]:
        return {
            name: n
            for name, n in {"CPU": self.cpus, "GPU": self.gpus, **self.resources}.items()
            if n
        }

    def _told(self, node: Mapping[str, Any]) -> str:
        there = node.get("Resources", {})
        words = [f"{there.get(name, 0):g} {name}" for name in self._amounts()]
        words += [f"{name}={node.get('Labels', {}).get(name, '')}" for name in self.labels]
        return f"{node.get('NodeManagerHostname')} {', '.join(words)}"

    def _label_words(self) -> list[str]:
        return [f"{name}={value}" for name, value in self.labels.items()]


def needs_of(trial: Trial, wishes: Wishes) -> Needs:
    """Return what a trial needs: a processor per thread, and its accelerators where its devices are such."""
    gpus = 0 if trial.device.split(":")[0] == NO_ACCELERATOR else trial.devices
    return Needs(trial.processors, gpus, wishes.resources, wishes.labels)
