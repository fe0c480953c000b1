"""The hooks that a plugin may implement. They return entries, which the harness then uses.

A plugin is a distribution with an entry point in the group ``harness``. It names a module that
implements hooks::

    [project.entry-points.harness]
    tortoise = "harness_tortoise"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pluggy

from harness.contract.backend import Backend
from harness.contract.cell import Cell
from harness.contract.probes.probe import Probe
from harness.contract.records.exporter import Exporter
from harness.contract.task import Task

PROJECT = "harness"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True)
class Suite:
    """A plan that ships with a plugin and answers one question: ``harness run --suite NAME``.

    Attributes:
        name: what the user types.
        path: of its TOML file, in the plugin's package. Its keys ``asks`` and ``takes`` say what it
            asks and how long it takes; the axes of its table ``[quick]`` make its smaller form.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class Published:
    """A published result that a plugin states: ``harness reproduce NAME``.

    Attributes:
        name: what the user types.
        path: of its TOML file, in the plugin's package; docs/reproducing.md says what it holds.
    """

    name: str
    path: Path


@hookspec
def harness_backends() -> Sequence[Backend]:  # type: ignore[empty-body]
    """Return instances of backends.

    Example::

        from harness.contract import Backend, hookimpl

        class Tortoise(Backend):
            name = "tortoise"      # also the entry point's name
            ...

        @hookimpl
        def harness_backends():
            return [Tortoise()]
    """


@hookspec
def harness_tasks() -> Sequence[type[Task]]:  # type: ignore[empty-body]
    """Return task classes.

    Example::

        from harness.contract import Task, hookimpl

        class Echo(Task):
            name = "echo"
            ...

        @hookimpl
        def harness_tasks():
            return [Echo]
    """


@hookspec
def harness_cells() -> Sequence[Cell]:  # type: ignore[empty-body]
    """Return instances of cells.

    Example::

        from harness.contract import Cell, hookimpl

        class Integrator(Cell):
            name, gates = "integrator", ("h",)

            def step(self, ops, zx, state, own):
                new = ops.tanh(zx + ops.product("hh", state.h))
                return (0.5 * state.h + 0.5 * new,)

        @hookimpl
        def harness_cells():
            return [Integrator()]
    """


@hookspec
def harness_suites() -> Sequence[Suite]:  # type: ignore[empty-body]
    """Return suites: plans that ship with the plugin.

    Example::

        from pathlib import Path

        from harness.contract import Suite, hookimpl

        @hookimpl
        def harness_suites():
            return [Suite("memory", Path(__file__).with_name("memory.toml"))]
    """


@hookspec
def harness_published() -> Sequence[Published]:  # type: ignore[empty-body]
    """Return published results, which ``harness reproduce`` runs.

    Example::

        from pathlib import Path

        from harness.contract import Published, hookimpl

        @hookimpl
        def harness_published():
            return [Published("echo-2026", Path(__file__).with_name("echo.toml"))]
    """


@hookspec
def harness_probes() -> Sequence[Probe]:  # type: ignore[empty-body]
    """Return instances of probes.

    Example::

        from harness.contract import hookimpl
        from harness.contract.probes import Findings, Probe

        class Sparsity(Probe):
            name, figures = "sparsity", {"zeros_fraction": "weights that are exactly zero"}

            def measure(self, network):
                weights = network.parameters["weight_ih_l0"]
                return Findings({"zeros_fraction": float((weights == 0).mean())})

        @hookimpl
        def harness_probes():
            return [Sparsity()]
    """


@hookspec
def harness_exporters() -> Sequence[Exporter]:  # type: ignore[empty-body]
    """Return instances of exporters: formats of a report.

    Example::

        from harness.contract import Exporter, hookimpl

        class Ids(Exporter):
            name, suffixes = "ids", (".txt",)

            def export(self, records, *, per_seed=False):
                return " ".join(record.trial.trial_id for record in records)

        @hookimpl
        def harness_exporters():
            return [Ids()]
    """
