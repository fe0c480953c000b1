"""What travels between worker and ranks: messages, models, errors; and what is made of them."""

import socket

import numpy as np
import pytest

from harness.cells import LSTM
from harness.contract import (
    Cell,
    DeviceMemoryError,
    Execution,
    HarnessError,
    Inputs,
    Model,
    Optimizer,
    PluginError,
    UnknownNameError,
    UnsupportedError,
    UsageError,
)

pytest.importorskip("torch", reason="torch is not installed")
from harness.testing.bench import Case
from harness_torch import TorchBackend
from harness_torch.parallel import ranks as ranks_module
from harness_torch.parallel.ranks import Ranks
from harness_torch.parallel.wire import receive, send
from harness_torch.parallel.wire_format import error_of, error_words, from_wire, to_wire

CASE = Case(3, batch=4)


def trainer_of(case=CASE, **execution):
    model, parameters = case.model(LSTM()), case.parameters(LSTM())
    return TorchBackend().trainer(
        model, Optimizer(), parameters, Execution("fused", **({"devices": 2} | execution))
    )


def test_arrays_of_any_shape_and_order_arrive_as_they_were():
    arrays = {
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "empty": np.zeros((2, 0), np.int32),
        "scalar": np.array(True),
    }
    one, other = socket.socketpair()
    with one, other:
        send(one, {"do": "put", "text": "∇"}, arrays)
        send(one, {"do": "nothing"})
        content, found = receive(other)
        assert content == {"do": "put", "text": "∇"}
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype
        assert receive(other) == ({"do": "nothing"}, {})
        one.sendall(b"half")
        one.close()
        assert receive(other) is None


def test_a_model_is_made_again_from_its_description():
    model = Model(LSTM(), Inputs("real", 2), 4, 2, 3, "squared_error", 0.5)
    rule = Optimizer("sgd", learning_rate=0.1, clip_norm=1.0)
    execution = Execution("loop", checkpoint=3, devices=2)
    found, *others = from_wire(to_wire(model, rule, execution))
    assert others == [rule, execution]
    assert (found.parameter_shapes(), found.dropout, found.loss) == (
        model.parameter_shapes(),
        0.5,
        "squared_error",
    )
    assert type(found.cell) is LSTM


def test_a_cell_that_no_other_process_can_make_is_refused():
    class Local(LSTM):
        pass

    assert isinstance(Local(), Cell)
    with pytest.raises(UnsupportedError, match="Local cannot be made again in another process"):
        to_wire(
            Model(Local(), Inputs("real", 2), 4, 1, 3, "squared_error"),
            Optimizer(),
            Execution("loop"),
        )


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PluginError("token ids"), PluginError),
        (MemoryError("full"), MemoryError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), DeviceMemoryError),
        (UnknownNameError("variant", "x", ["y"]), UsageError),
        (KeyError("lost"), RuntimeError),
    ],
)
def test_the_error_of_a_rank_is_raised_again_as_what_it_was(error, kind):
    found = error_of(error_words(error), 1)
    assert isinstance(found, kind)
    assert str(error) in str(found)
    assert "rank 1" in str(found)


def test_an_error_on_one_rank_is_told_and_the_others_go_on():
    trainer, batch = trainer_of(), CASE.make_batch()
    wrong = batch.inputs.copy()
    wrong[0, -1] = 99
    with pytest.raises(PluginError, match=r"token ids must lie in 0..4.*\(rank 1\)"):
        trainer.put(type(batch)(wrong, batch.targets, batch.mask))
    assert float(trainer.train_step(trainer.put(batch)).loss) > 0


def test_ranks_that_ended_while_they_had_nothing_to_do_are_replaced():
    trainer_of()
    before = ranks_module.running(2, "cpu", 1)
    before._torchrun.kill()
    before._torchrun.wait()
    trainer, batch = trainer_of(), CASE.make_batch()
    assert float(trainer.train_step(trainer.put(batch)).loss) > 0
    assert ranks_module.running(2, "cpu", 1) is not before


def test_a_share_in_which_nothing_counts_costs_nothing():
    batch = CASE.make_batch()
    batch.mask[:, 2:] = False
    one, two = trainer_of(devices=1), trainer_of()
    found, expected = (float(each.train_step(each.put(batch)).loss) for each in (two, one))
    assert found == pytest.approx(expected, abs=1e-6)


def test_fewer_sequences_than_devices_are_refused():
    trainer = trainer_of()
    with pytest.raises(UsageError, match="1 sequences cannot be split over 2 devices"):
        trainer.train_step(trainer.put(CASE.make_batch().first(1)))


def test_ranks_that_drift_apart_are_found(monkeypatch):
    trainer = trainer_of()
    trainer.train_step(trainer.put(CASE.make_batch()))
    answers = trainer._ranks.ask({"do": "synchronize", "replica": trainer._number})
    answers[1][1]["norm"] *= 2
    monkeypatch.setattr(trainer._ranks, "ask", lambda *_: answers)
    with pytest.raises(HarnessError, match="drifted apart"):
        trainer.synchronize()


def test_torchrun_that_cannot_start_the_ranks_is_an_error(monkeypatch):
    monkeypatch.setattr(ranks_module, "_command", lambda *_: ["false"])
    with pytest.raises(HarnessError, match="torchrun ended with status 1 before the ranks joined"):
        Ranks(2, "cpu", 1)
