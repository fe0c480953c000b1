"""The conformance kit: checks of what a plugin must do.

``BackendConformance``, ``TaskConformance``, ``CellConformance``, ``ProbeConformance`` and
``ExporterConformance`` are classes to subclass in pytest. ``checks_for_backend``,
``checks_for_task``, ``checks_for_cell``, ``checks_for_probe``, ``checks_for_exporter`` and
``run_check`` need no pytest; ``harness check`` runs those of backends and cells. No framework is
imported here.
"""

from harness.cells.operations import NumpyOps
from harness.testing.backend.suite import checks_for_backend
from harness.testing.cells import checks_for_cell
from harness.testing.compare import Check, CheckResult, NotApplicable, run_check
from harness.testing.conformance import (
    BackendConformance,
    CellConformance,
    ExporterConformance,
    ProbeConformance,
    TaskConformance,
)
from harness.testing.equations import run_equations
from harness.testing.exporters import checks_for_exporter
from harness.testing.probes import checks_for_probe
from harness.testing.tasks import checks_for_task

__all__ = [
    "BackendConformance",
    "CellConformance",
    "Check",
    "CheckResult",
    "ExporterConformance",
    "NotApplicable",
    "NumpyOps",
    "ProbeConformance",
    "TaskConformance",
    "checks_for_backend",
    "checks_for_cell",
    "checks_for_exporter",
    "checks_for_probe",
    "checks_for_task",
    "run_check",
    "run_equations",
]
