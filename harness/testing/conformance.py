"""Classes that plugin authors subclass in pytest. pytest is imported only when a test runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, ClassVar

from harness.contract import Backend, Cell, Dtype, Missing, Task
from harness.contract.errors import with_fix
from harness.contract.probes import Probe
from harness.contract.records.exporter import Exporter
from harness.plugins import load_plugins
from harness.testing.backend.grid import Grid
from harness.testing.backend.suite import DTYPES, checks_for_backend
from harness.testing.cells import checks_for_cell
from harness.testing.compare import Check, NotApplicable, run_check
from harness.testing.exporters import checks_for_exporter
from harness.testing.probes import checks_for_probe
from harness.testing.tasks import checks_for_task


class Conformance:
    """One test per check. Subclass one of the four classes below, not this one.

    Attributes:
        exceptions: pattern of ``variant-cell-check`` -> reason, for checks that a plugin cannot
            pass. Each is reported with its reason. It must really fail: an exception that is no
            longer needed is an error.
    """

    exceptions: ClassVar[Mapping[str, str]] = {}

    def checks(self) -> Iterator[Check]:
        """Yield the checks."""
        raise NotImplementedError

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make one test of each check; pytest calls this when it collects the class."""
        checks = list(self.checks())
        metafunc.parametrize("check", checks, ids=[check.label for check in checks])

    def test_conforms(self, check: Check) -> None:
        """Run one check."""
        import pytest

        __tracebackhide__ = True
        result = run_check(check)
        patterns = (each for each in self.exceptions if fnmatchcase(check.label, each))
        reason = self.exceptions.get(next(patterns, ""))
        if result.skipped:
            pytest.skip(result.message)
        if reason is None:
            if not result.passed:
                pytest.fail(f"{check.label}: {result.message}", pytrace=False)
        elif result.passed:
            problem = f"{check.label} passes: its exception ({reason}) is no longer needed"
            pytest.fail(problem, pytrace=False)
        else:
            pytest.xfail(f"{reason}: {result.message}")


class BackendConformance(Conformance):
    """The checks of a backend::

        class TestTortoise(BackendConformance):
            backend = Tortoise()

    Attributes:
        backend: the backend to test.
        reference: the backend whose float64 results count as correct; None means ``numpy``.
        cells: the cells to run; None means a few of the harness, which need all that an engine
            must do.
        variants: the variants to run; None means all.
        dtypes: the dtypes to run.
        lengths: the time steps to run, out of 1, 7, 64 and 100; None means all.
        device: the device to run on; None means the backend's first.
        grid: the shapes at which every tensor is compared: ``cover`` (a dozen), ``full`` (all),
            ``few`` (``cover``, but two if the variant compiles) or ``none``.
    """

    backend: ClassVar[Backend]
    reference: ClassVar[Backend | None] = None
    cells: ClassVar[Sequence[Cell] | None] = None
    variants: ClassVar[Sequence[str] | None] = None
    dtypes: ClassVar[tuple[Dtype, ...]] = DTYPES
    lengths: ClassVar[Sequence[int] | None] = None
    device: ClassVar[str | None] = None
    grid: ClassVar[Grid] = "cover"

    def checks(self) -> Iterator[Check]:
        """Yield the checks of ``checks_for_backend``, and one that its library is installed."""
        yield Check("its_library_is_installed", partial(_its_library_is_installed, self.backend))
        yield from checks_for_backend(
            self.backend,
            self.reference or load_plugins().backend("numpy"),
            self.cells,
            variants=self.variants,
            device=self.device,
            dtypes=self.dtypes,
            lengths=self.lengths,
            grid=self.grid,
        )


class TaskConformance(Conformance):
    """The checks of a task::

        class TestEcho(TaskConformance):
            task = Echo

    Attributes:
        task: the class to test.
        options: values of its options.
        lengths: the lengths to try; None means the task's minimum, and the minimum plus 20.
        constant_baseline: True if the baseline is the loss of the best *constant* predictor, as for
            most synthetic tasks.
    """

    task: ClassVar[type[Task]]
    options: ClassVar[Mapping[str, Any]] = {}
    lengths: ClassVar[Sequence[int] | None] = None
    constant_baseline: ClassVar[bool] = False

    def checks(self) -> Iterator[Check]:
        """Yield the checks of ``checks_for_task``."""
        return checks_for_task(
            self.task, self.options, self.lengths, constant_baseline=self.constant_baseline
        )


class CellConformance(Conformance):
    """The checks of a cell::

        class TestLeaky(CellConformance):
            cell = Leaky()

    Attributes:
        cell: the cell to test.
        reference: the backend that trains networks of it; None means ``numpy``.
    """

    cell: ClassVar[Cell]
    reference: ClassVar[Backend | None] = None

    def checks(self) -> Iterator[Check]:
        """Yield the checks of ``checks_for_cell``."""
        return checks_for_cell(self.cell, self.reference or load_plugins().backend("numpy"))


class ProbeConformance(Conformance):
    """The checks of a probe::

        class TestSparsity(ProbeConformance):
            probe = Sparsity()

    Attributes:
        probe: the probe to test.
    """

    probe: ClassVar[Probe]

    def checks(self) -> Iterator[Check]:
        """Yield the checks of ``checks_for_probe``."""
        return checks_for_probe(self.probe)


class ExporterConformance(Conformance):
    """The checks of an exporter::

        class TestIds(ExporterConformance):
            exporter = Ids()

    Attributes:
        exporter: the exporter to test.
    """

    exporter: ClassVar[Exporter]

    def checks(self) -> Iterator[Check]:
        """Yield the checks of ``checks_for_exporter``."""
        return checks_for_exporter(self.exporter)


def _its_library_is_installed(backend: Backend) -> None:
    answer = backend.availability()
    if isinstance(answer, Missing):
        raise NotApplicable(with_fix(answer.reason, answer.fix))
