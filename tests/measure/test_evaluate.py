from dataclasses import replace

import numpy as np
import pytest

from builders import trial_of
from harness.cells import RNN
from harness.contract import Batch, Inputs, Model, Score, Trial
from harness.measure import evaluate
from harness.measure.evaluate import Evaluator, MeanLoss, batches_to_sample, sums_of_losses
from harness.measure.setup import prepare
from harness.plugins import load_plugins

PLUGINS = load_plugins()


def batch(targets, mask):
    mask = np.asarray(mask, dtype=bool)
    return Batch(np.zeros(mask.shape, np.int32), np.asarray(targets), mask)


def test_cross_entropy_counts_the_masked_positions_only():
    logits = np.log([[[0.5, 0.25, 0.25]], [[0.1, 0.1, 0.8]]]).astype(np.float32)
    found = sums_of_losses("cross_entropy", logits, batch([[0], [2]], [[True], [False]]))
    assert found == pytest.approx(-np.log(0.5), abs=1e-6)  # float32 logits


def test_cross_entropy_of_huge_logits_does_not_overflow():
    logits = np.array([[[1e30, -1e30]]], dtype=np.float32)
    assert sums_of_losses("cross_entropy", logits, batch([[0]], [[True]])) == 0.0
    assert sums_of_losses("cross_entropy", logits, batch([[1]], [[True]])) == pytest.approx(2e30)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_give_a_loss_that_is_not(value):
    assert not np.isfinite(
        sums_of_losses("cross_entropy", np.array([[[value, 0.0]]]), batch([[1]], [[True]]))
    )


def test_squared_error_is_averaged_over_the_outputs():
    outputs = np.array([[[1.0, 3.0]], [[9.0, 9.0]]])
    assert (
        sums_of_losses(
            "squared_error", outputs, batch([[[0.0, 0.0]], [[0.0, 0.0]]], [[True], [False]])
        )
        == 5.0
    )


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
    zeros = [
        batch(np.zeros((2, 1, 1)), np.ones((2, 1))),
        batch(np.zeros((1, 1, 1)), np.ones((1, 1))),
    ]
    model, trainer = Model(RNN(), Inputs("real", 1), 1, 1, 1, "squared_error"), Counter()
    evaluator = Evaluator(Zero(), model, "float64", zeros, zeros[:1], "the counter")
    (evaluation,) = evaluator.evaluate(trainer, 3, full=True)
    assert trainer.seen == 5
    assert evaluation.step == 3
    assert evaluation.loss_validation == pytest.approx(
        (2 * 1.0 + 4.0) / 3
    )  # weighted by scored positions
    assert evaluation.loss_train_eval == 1.0
    assert evaluation.accuracy == 0.25
    assert evaluation.extra == {"first": 0.5}


def test_a_sample_is_the_start_of_all_batches_which_are_run_once():
    batches = [batch(np.zeros((2, 1, 1)), np.ones((2, 1)))] * 5
    model, trainer = Model(RNN(), Inputs("real", 1), 1, 1, 1, "squared_error"), Counter()
    evaluator = Evaluator(
        Zero(), model, "float64", batches, batches[:4], "the counter", sampled_batches=2
    )
    (between,) = evaluator.evaluate(trainer, 3)
    again, full = evaluator.evaluate(trainer, 3, full=True)
    assert between == again
    losses = (between.loss_validation, full.loss_validation, full.loss_train_eval)
    assert losses == pytest.approx((5 / 2, 55 / 5, 30 / 4))
    assert (between.tokens_validation, between.tokens_train_eval) == (4, 4)
    assert (full.tokens_validation, full.tokens_train_eval) == (10, 8)


@pytest.mark.parametrize("carry", [False, True])
def test_the_start_of_a_stream_cannot_show_that_a_task_is_solved(carry):
    zeros = batch(np.zeros((2, 1, 1)), np.ones((2, 1)))
    batches = [zeros, replace(zeros, carry=carry)]
    model = Model(RNN(), Inputs("real", 1), 1, 1, 1, "squared_error")
    evaluator = Evaluator(
        Zero(), model, "float64", batches, batches, "the counter", sampled_batches=1
    )
    sample, full = evaluator.evaluate(Counter(), 3, full=True)
    assert evaluator.can_claim(sample) is not carry
    assert evaluator.can_claim(full)


@pytest.mark.parametrize(
    ("settings", "sampled"),
    [
        ({"steps": 800, "evaluate_every": 80}, 10),  # 80 steps / 4, for both kinds of data
        ({"steps": 800, "evaluate_every": 0}, 100),  # at the start and the end only
        ({"steps": 800, "evaluate_every": 8000}, 100),
        ({"steps": 8000, "evaluate_every": 8000}, 200),  # all there are
        ({"steps": 800, "evaluate_every": 1}, 8),
    ],
)
def test_a_sample_reads_at_most_a_quarter_of_the_tokens_trained_on(settings, sampled):
    trial = trial_of(**settings)
    one = batch(np.zeros((5, 2)), np.ones((5, 2)))
    assert batches_to_sample(trial, one, [one] * 200, [one] * 200) == sampled


def test_a_sequence_has_its_own_sum():
    outputs = np.array([[[1.0], [2.0], [3.0]], [[1.0], [5.0], [0.0]]])
    mask = [[True, True, False], [True, False, False]]
    found = sums_of_losses("squared_error", outputs, batch(np.zeros((2, 3, 1)), mask))
    assert found.tolist() == [2.0, 4.0, 0.0]


def test_the_standard_error_is_the_scatter_of_the_mean_over_samples():
    """Sequences of 1 to 5 scored positions: the error must hold for a ratio of sums."""
    rng, means, errors = np.random.default_rng(0), [], []
    for _ in range(400):
        mean = MeanLoss("squared_error")
        for _ in range(4):
            mask = np.arange(5)[:, None] < rng.integers(1, 6, size=16)
            mean.add(
                rng.normal(size=(1, 16, 1)) * np.ones((5, 1, 1)), batch(np.zeros((5, 16, 1)), mask)
            )
        means.append(mean.value())
        errors.append(mean.standard_error())
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.15)  # 400 samples scatter by 4 %


def test_one_sequence_has_no_standard_error():
    mean = MeanLoss("squared_error")
    mean.add(np.ones((3, 1, 1)), batch(np.zeros((3, 1, 1)), np.ones((3, 1))))
    assert (mean.value(), mean.standard_error()) == (1.0, None)


MEANS = {
    "adding": ({"variant": name} for name in ("halves", "anywhere", "pascanu", "hs97")),
    "copy": ({},),
}


class DistributionsMean:
    """A trainer that has learnt nothing but the distribution of the targets."""

    def __init__(self, task):
        self.task = task

    def put(self, batch):
        return batch

    def outputs(self, batch):
        if self.task.loss == "squared_error":
            mean = {"pascanu": 0.5, "hs97": 0.5}.get(self.task.options.variant, 1.0)
            return np.full(batch.targets.shape, mean, dtype=np.float32)
        recall = np.arange(batch.time_steps) >= batch.time_steps - self.task.options.symbols
        blank, symbol = np.where(recall, -50.0, 50.0), np.where(recall, 50.0, -50.0)
        logits = np.stack([blank, *[symbol] * (self.task.outputs - 1)], axis=-1)[:, None]
        return np.broadcast_to(logits, (*batch.mask.shape, self.task.outputs)).astype(np.float32)

    def state(self):
        return None

    def load_state(self, state):
        pass


@pytest.mark.parametrize("length", [100, 200, 1000])
@pytest.mark.parametrize(
    ("task", "options"),
    [(name, options) for name, some in MEANS.items() for options in some],
    ids=str,
)
@pytest.mark.slow
def test_the_distributions_mean_is_at_the_baseline_of_every_validation_sample(
    task, options, length
):
    ratios, exact = [], []
    for seed in range(40):
        trial = Trial(
            backend="numpy", variant="vectorised", task=task, task_options=options, cell="rnn",
            length=length,
            hidden=1, batch=32, evaluation_seed=seed,
        )  # fmt: skip
        setup = prepare(trial, PLUGINS, PLUGINS.backend("numpy"), "numpy")
        evaluator = setup.evaluator()
        *_, full = evaluator.evaluate(DistributionsMean(setup.task), 0, full=True)
        loss = full.loss_validation
        ratios.append(loss / evaluator.baseline)
        exact.append(evaluator.baseline / setup.task.baseline())
    assert ratios == pytest.approx([1.0] * 40, abs=5e-4)
    assert np.mean(exact) == pytest.approx(1.0, abs=0.1)
    if task == "adding":
        assert (
            np.ptp(exact) > 0.01
        )  # the samples do differ: against the exact baseline the ratio would not be 1


def test_before_the_first_update_no_training_data_are_evaluated():
    zeros, ones = (
        batch(np.zeros((2, 1, 1)), np.ones((2, 1))),
        batch(np.ones((2, 1, 1)), np.ones((2, 1))),
    )
    model, trainer = Model(RNN(), Inputs("real", 1), 1, 1, 1, "squared_error"), Counter()
    put, trainer.put = [], lambda one: put.append(one) or one
    evaluator = Evaluator(Zero(), model, "float64", [zeros], [ones], "the counter")
    assert evaluator.evaluate(trainer, 0)[0].loss_train_eval is None
    assert put == [zeros]
    assert evaluator.evaluate(trainer, 1)[0].loss_train_eval is not None
    assert put == [zeros, zeros, ones]


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_long_outputs_are_scored_some_time_steps_at_a_time(loss, monkeypatch):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(50, 3, 4))
    targets = (
        rng.integers(4, size=(50, 3)) if loss == "cross_entropy" else rng.normal(size=(50, 3, 4))
    )
    mask = rng.integers(2, size=(50, 3)) == 1
    mask[10:20] = False  # a piece without any position that counts
    whole = sums_of_losses(loss, outputs, batch(targets, mask))
    monkeypatch.setattr(evaluate, "PIECE", 5 * 12)
    seen = []
    part = evaluate._losses
    monkeypatch.setattr(evaluate, "_losses", lambda *a: seen.append(len(a[1])) or part(*a))
    np.testing.assert_allclose(
        sums_of_losses(loss, outputs, batch(targets, mask)), whole, rtol=1e-12
    )
    assert seen == [5] * 8
