"""The conformance kit: what a plugin must do, as tests to subclass in pytest and as checks that ``harness check`` runs.

``BackendConformance``, ``TaskConformance`` and ``CellConformance`` are for pytest;
``checks_for_backend``, ``checks_for_task``, ``checks_for_cell`` and ``run_check`` need no pytest.
No framework import here.
"""

from harness.cells.operations import NumpyOps
from harness.testing.backend.suite import checks_for_backend
from harness.testing.cells import checks_for_cell
from harness.testing.compare import Check, CheckResult, NotApplicable, run_check
from harness.testing.conformance import BackendConformance, CellConformance, TaskConformance
from harness.testing.equations import run_equations
from harness.testing.tasks import checks_for_task

__all__ = [
    "BackendConformance",
    "CellConformance",
    "Check",
    "CheckResult",
    "NotApplicable",
    "NumpyOps",
    "TaskConformance",
    "checks_for_backend",
    "checks_for_cell",
    "checks_for_task",
    "run_check",
    "run_equations",
]
