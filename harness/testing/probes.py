"""Checks of a probe: its declaration, and what it returns for small networks of all kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from harness.contract import Batch, HarnessError, Model, Parameters, Trial
from harness.contract.probes import Probe, TrainedNetwork
from harness.measure.setup import prepared_task
from harness.plugins import Plugins, load_plugins
from harness.plugins.declarations import check_declaration
from harness.plugins.probe_validation import checked_findings
from harness.probing.stepper import DerivedStepper
from harness.testing.compare import Check

SEQUENCES = 16


@dataclass(frozen=True)
class Small:
    """A small network with random weights and the data of a task."""

    cell: str
    task: str
    length: int
    hidden: int = 4
    layers: int = 1
    streams: bool = False

    def __str__(self) -> str:
        stream = ", state carried" if self.streams else ""
        return f"{self.cell}, task {self.task}, T={self.length}, layers={self.layers}{stream}"

    def network(self, plugins: Plugins) -> TrainedNetwork:
        """Return the network as probes see it."""
        trial = Trial(
            backend="numpy",
            variant="loop",
            task=self.task,
            cell=self.cell,
            length=self.length,
            hidden=self.hidden,
            layers=self.layers,
        )
        task = prepared_task(trial, plugins)
        cell = plugins.cell(self.cell)
        model = Model(cell, task.inputs, self.hidden, self.layers, task.outputs, task.loss)
        rng, scale = np.random.default_rng(1), self.hidden**-0.5
        parameters: Parameters = {
            name: rng.uniform(-scale, scale, shape)
            for name, shape in model.parameter_shapes().items()
        }
        batches = list(task.validation(np.random.default_rng(2), SEQUENCES))[:3]
        if self.streams:
            batches = [replace(batch, carry=at > 0) for at, batch in enumerate(batches)]
        return TrainedNetwork(model, parameters, task, batches, DerivedStepper(model, parameters))


# Tokens and real inputs; one state, two, a matrix; no recurrent weights; targets at the last step;
# padding; one time step.
NETWORKS = (
    Small("rnn", "parity", 12),
    Small("lstm", "adding", 12, layers=2),
    Small("mingru", "counting", 12),
    Small("gated_delta", "dyck", 12),
    Small("gru", "parity", 12, streams=True),
    Small("rnn", "parity", 1, hidden=1),
)


def checks_for_probe(probe: Probe, plugins: Plugins | None = None) -> Iterator[Check]:
    """Yield every check of a probe."""
    loaded = plugins or load_plugins()
    yield Check("it_declares_itself_sanely", partial(it_declares_itself_sanely, probe))
    for small in NETWORKS:
        for function in ON_NETWORKS:
            check = partial(function, probe, small, loaded)
            yield Check(function.__name__, check, variant=str(small))


def it_declares_itself_sanely(probe: Probe) -> None:
    """The name, the version, the names of figures and the time limit are valid."""
    _no_error(lambda: check_declaration("probe", probe))


def its_findings_are_valid(probe: Probe, small: Small, plugins: Plugins) -> None:
    """Figures are declared and finite or None; curves have as many values as positions."""
    network = small.network(plugins)
    with np.errstate(all="ignore"):
        _no_error(lambda: checked_findings(probe, probe.measure(network), probe.name))


def equal_networks_give_equal_figures(probe: Probe, small: Small, plugins: Plugins) -> None:
    """Two calls agree to the last bit, and neither changes weights or data."""
    network, untouched = small.network(plugins), small.network(plugins)
    with np.errstate(all="ignore"):
        first, second = probe.measure(network), probe.measure(network)
    assert dict(first.figures) == dict(second.figures), "two calls give different figures"
    for name, values in network.parameters.items():
        assert np.array_equal(values, untouched.parameters[name]), f"it changes the weights {name}"
    for batch, original in zip(network.batches, untouched.batches, strict=True):
        assert _are_equal(batch, original), "it changes a batch"


ON_NETWORKS: tuple[Callable[[Probe, Small, Plugins], None], ...] = (
    its_findings_are_valid,
    equal_networks_give_equal_figures,
)


def _are_equal(batch: Batch, other: Batch) -> bool:
    return all(
        np.array_equal(getattr(batch, name), getattr(other, name))
        for name in ("inputs", "targets", "mask")
    )


def _no_error(action: Callable[[], object]) -> None:
    try:
        action()
    except HarnessError as error:
        raise AssertionError(str(error)) from error
