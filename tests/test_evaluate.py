import numpy as np
import pytest

from harness.cells import RNN
from harness.contract import Batch, Inputs, Model, Score
from harness.measure import evaluate
from harness.measure.evaluate import Evaluator, sum_of_losses


def batch(targets, mask):
    mask = np.asarray(mask, dtype=bool)
    return Batch(np.zeros(mask.shape, np.int32), np.asarray(targets), mask)


def test_cross_entropy_counts_the_masked_positions_only():
    logits = np.log([[[0.5, 0.25, 0.25]], [[0.1, 0.1, 0.8]]]).astype(np.float32)
    found = sum_of_losses("cross_entropy", logits, batch([[0], [2]], [[True], [False]]))
    assert found == pytest.approx(-np.log(0.5), abs=1e-6)  # float32 logits


def test_cross_entropy_of_huge_logits_does_not_overflow():
    logits = np.array([[[1e30, -1e30]]], dtype=np.float32)
    assert sum_of_losses("cross_entropy", logits, batch([[0]], [[True]])) == 0.0
    assert sum_of_losses("cross_entropy", logits, batch([[1]], [[True]])) == pytest.approx(2e30)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_give_a_loss_that_is_not(value):
    assert not np.isfinite(sum_of_losses("cross_entropy", np.array([[[value, 0.0]]]), batch([[1]], [[True]])))


def test_squared_error_is_averaged_over_the_outputs():
    outputs = np.array([[[1.0, 3.0]], [[9.0, 9.0]]])
    assert sum_of_losses("squared_error", outputs, batch([[[0.0, 0.0]], [[0.0, 0.0]]], [[True], [False]])) == 5.0


class Counter:
    """A trainer that outputs how many batches it has seen since its state was set."""

    def __init__(self):
        self.seen = 5

    def put(self, batch):
        return batch

    def outputs(self, batch):
        self.seen += 1
        return np.full((*batch.mask.shape, 1), float(self.seen))

    def state(self):
        return self.seen

    def load_state(self, state):
        self.seen = 0 if state is None else state


class Zero:
    def score(self, batch, outputs):
        return Score(1.0, 4.0, {"first": (float(outputs.min() == 1), 1.0)})


def test_batches_are_a_stream_from_a_zero_state_and_training_goes_on_where_it_was():
    zeros = [batch(np.zeros((2, 1, 1)), np.ones((2, 1))), batch(np.zeros((1, 1, 1)), np.ones((1, 1)))]
    model, trainer = Model(RNN(), Inputs("real", 1), 1, 1, 1, "squared_error"), Counter()
    evaluation = Evaluator(Zero(), model, "float64", zeros, zeros[:1], "the counter").evaluate(trainer, 3)
    assert trainer.seen == 5
    assert evaluation.step == 3
    assert evaluation.loss_validation == pytest.approx((2 * 1.0 + 4.0) / 3)  # weighted by scored positions
    assert evaluation.loss_train_eval == 1.0
    assert evaluation.accuracy == 0.25
    assert evaluation.extra == {"first": 0.5}


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_long_outputs_are_scored_some_time_steps_at_a_time(loss, monkeypatch):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(50, 3, 4))
    targets = rng.integers(4, size=(50, 3)) if loss == "cross_entropy" else rng.normal(size=(50, 3, 4))
    mask = rng.integers(2, size=(50, 3)) == 1
    mask[10:20] = False  # a piece without any position that counts
    whole = sum_of_losses(loss, outputs, batch(targets, mask))
    monkeypatch.setattr(evaluate, "PIECE", 5 * 12)
    seen = []
    part = evaluate._sum_of_losses
    monkeypatch.setattr(evaluate, "_sum_of_losses", lambda *a: seen.append(len(a[1])) or part(*a))
    assert sum_of_losses(loss, outputs, batch(targets, mask)) == pytest.approx(whole, rel=1e-12)
    assert seen == [5] * 8
