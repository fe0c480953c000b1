"""The conformance kit applied to everything that comes with the harness."""

import pytest

from harness.cells import GRU, LSTM, RNN, MinGRU, MinLSTM, ReluRNN
from harness.testing import BackendConformance, CellConformance, TaskConformance
from harness_jax import harness_backends as jax_backends
from harness_numpy import NumpyBackend
from harness_tasks import harness_tasks
from harness_torch import harness_backends as torch_backends

TASKS = {task.name: task for task in harness_tasks()}


class FewShapesInTheLoop(BackendConformance):
    """``loop`` runs every cell by the same lines, slowly: two cells in it have the grid."""

    def checks(self):
        for check in super().checks():
            in_grid = check.name.startswith("every_tensor_equals")
            if not in_grid or check.variant != "loop" or check.cell in ("lstm", "gru_reset_before"):
                yield check


@pytest.mark.slow
class TestNumpyBackend(FewShapesInTheLoop):
    backend = NumpyBackend()


@pytest.mark.slow
class TestTorchBackend(FewShapesInTheLoop):
    """Without ``compiled``, which takes seconds per shape: ``test_torch_variants`` has it."""

    backend = torch_backends()[0]
    variants = ("library", "fused", "loop", "parallel", "native")


@pytest.mark.slow
class TestJaxBackend(BackendConformance):
    """``lstm`` in every variant, ``rnn`` and ``gru`` in all but ``scan``.

    ``scan`` and ``fused`` run the same equations of a cell, and ``rnn_relu`` is ``rnn`` with
    another operation. The grid of shapes and checkpoints compiles longest, so it is for ``lstm``
    alone. ``test_jax_variants`` has ``parallel``, ``deer``, and the parity and checkpoints of all;
    the class below has every check.
    """

    backend = jax_backends()[0]
    variants = ("scan", "fused", "native")
    cells = (LSTM(), RNN(), GRU())

    def checks(self):
        for check in super().checks():
            long = check.name.startswith(("every_tensor_equals", "checkpointed_bptt"))
            if check.variant != "scan":
                wanted = check.cell == "lstm" or not long
            else:
                wanted = check.cell == "lstm" and not long
            if wanted:
                yield check


@pytest.mark.full
class TestJaxBackendWithEveryCell(BackendConformance):
    """Every check of every cell with a recurrent weight."""

    backend = jax_backends()[0]
    variants = ("scan", "fused", "native")
    cells = (RNN(), ReluRNN(), LSTM(), GRU())


class TestRNN(CellConformance):
    cell = RNN()


class TestReluRNN(CellConformance):
    cell = ReluRNN()


class TestLSTM(CellConformance):
    cell = LSTM()


class TestGRU(CellConformance):
    cell = GRU()


class TestMinGRU(CellConformance):
    cell = MinGRU()


class TestMinLSTM(CellConformance):
    cell = MinLSTM()


class TestCopy(TaskConformance):
    task = TASKS["copy"]
    constant_baseline = True


class TestAddingHalves(TaskConformance):
    task = TASKS["adding"]
    constant_baseline = True


class TestAddingAnywhere(TestAddingHalves):
    options = {"variant": "anywhere"}  # noqa: RUF012


class TestAddingPascanu(TestAddingHalves):
    options = {"variant": "pascanu"}  # noqa: RUF012
    lengths = (20, 40)


class TestAddingHochreiterSchmidhuber(TestAddingHalves):
    options = {"variant": "hs97"}  # noqa: RUF012
    lengths = (20, 40)


class TestChar(TaskConformance):
    """Its baseline is an n-gram model's: better than any constant predictor."""

    task = TASKS["char"]


class TestCharGrammar(TestChar):
    options = {"corpus": "grammar"}  # noqa: RUF012
