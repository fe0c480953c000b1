from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.contract import Evaluation, UsageError
from harness.testing.compare import run_check
from harness.testing.tasks import checks_for_task
from harness_tasks import Copy

SIZES = {
    "length": st.integers(1, 40),
    "symbols": st.integers(1, 12),
    "alphabet": st.integers(2, 20),
}


def copy(length=7, seed=0, symbols=10, alphabet=8, **options):
    """Return the published task."""
    task = Copy(Copy.Options(symbols=symbols, alphabet=alphabet, **options), length)
    task.check()
    task.prepare(np.random.SeedSequence(seed))
    return task


def rng(seed=0):
    return np.random.default_rng(seed)


@settings(deadline=None)
@given(**SIZES, batch=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_symbols_come_first_then_blanks_a_marker_and_blanks(length, symbols, alphabet, batch, seed):
    inputs = copy(length, symbols=symbols, alphabet=alphabet).draw(rng(seed), batch).inputs
    assert inputs.shape == (length + 2 * symbols, batch)
    assert inputs.dtype == np.int32
    assert ((inputs[:symbols] >= 1) & (inputs[:symbols] <= alphabet)).all()
    assert (inputs[symbols : symbols + length - 1] == 0).all()
    assert (inputs[symbols + length - 1] == alphabet + 1).all()
    assert (inputs[symbols + length :] == 0).all()


@settings(deadline=None)
@given(**SIZES, seed=st.integers(0, 2**32))
def test_targets_are_the_symbols_delayed_by_symbols_plus_length(length, symbols, alphabet, seed):
    batch = copy(length, symbols=symbols, alphabet=alphabet).draw(rng(seed), 3)
    delay = symbols + length
    assert (batch.targets[:delay] == 0).all()
    np.testing.assert_array_equal(batch.targets[delay:], batch.inputs[:symbols])
    assert batch.targets.dtype == np.int32
    assert batch.mask.all()
    assert not batch.carry


def test_every_symbol_is_drawn():
    batch = copy(alphabet=8).draw(rng(), 100)
    assert set(np.unique(batch.targets)) == set(range(9))


@pytest.mark.parametrize(("length", "published"), [(100, 0.17329), (500, 0.03999)])
def test_baseline_is_the_published_one(length, published):
    assert copy(length).baseline() == pytest.approx(published, abs=5e-6)  # printed to five decimals


def test_baseline_is_the_loss_of_guessing_among_the_symbols():
    task = copy(5, symbols=3, alphabet=4)
    probabilities = np.zeros((task.time_steps, task.outputs))
    probabilities[:-3, 0] = 1.0
    probabilities[-3:, 1:] = 1 / 4
    targets = task.draw(rng(), 50).targets
    losses = -np.log(probabilities[np.arange(len(targets))[:, None], targets])
    # Every symbol costs the same: no sampling error.
    assert losses.mean() == pytest.approx(task.baseline(), rel=1e-12)
    assert task.floor() == 0


def test_accuracy_counts_recall_positions_and_whole_sequences_apart():
    task = copy(5, symbols=4)
    batch = task.draw(rng(), 6)
    outputs = np.eye(task.outputs)[batch.targets]
    outputs[:-4] = 0  # wrong on blanks: not counted
    outputs[-1, 0] = -outputs[-1, 0]  # one symbol of one sequence
    score = task.score(batch, outputs)
    assert (score.hits, score.total) == (23, 24)
    assert score.extra == {"exact_match": (5, 6)}


def test_solved_from_an_accuracy_of_099():
    assert copy().solved(Evaluation(0, 1.0, accuracy=0.99))
    assert not copy().solved(Evaluation(0, 0.0, accuracy=0.98))
    assert not copy().solved(Evaluation(0, 0.0))


@settings(max_examples=30, deadline=None)
@given(sequences=st.integers(1, 12), batch=st.integers(1, 30), seed=st.integers(0, 2**32))
def test_a_fixed_set_repeats_its_sequences_in_whole_shuffled_epochs(sequences, batch, seed):
    task = copy(symbols=10, data="fixed", sequences=sequences)
    batches = list(islice(task.training(rng(seed), batch), 12))
    columns = [column.tobytes() for each in batches for column in each.inputs.T]
    epochs = [
        columns[at : at + sequences] for at in range(0, len(columns) - sequences + 1, sequences)
    ]
    assert all(each.size == batch for each in batches)
    assert all(len(set(epoch)) == sequences for epoch in epochs)
    assert len(set(columns)) == min(sequences, len(columns))


def test_the_fixed_set_follows_the_data_seed_and_validation_is_outside_it():
    def seen(task):
        return {
            column.tobytes()
            for batch in task.training_sample(rng(), 10, 4)
            for column in batch.inputs.T
        }

    one, same, other = (copy(seed=seed, data="fixed", sequences=20) for seed in (1, 1, 2))
    held_out = {
        column.tobytes() for batch in one.validation(rng(9), 32) for column in batch.inputs.T
    }
    assert seen(one) == seen(same)
    assert len(seen(one)) == 20
    assert not seen(one) & seen(other)
    assert not seen(one) & held_out


def test_a_fixed_set_that_is_not_prepared_says_so():
    with pytest.raises(UsageError, match="prepare"):
        next(Copy(Copy.Options(data="fixed"), 5).training(rng(), 2))


@pytest.mark.parametrize(
    ("length", "batch", "count", "size"), [(5, 32, 32, 32), (980, 32, 4, 32), (5, 4096, 1, 1024)]
)
def test_validation_holds_fewer_sequences_where_they_are_long(length, batch, count, size):
    batches = copy(length).validation(rng(), batch)
    assert [each.size for each in batches] == [size] * count


def test_validation_holds_as_many_sequences_as_asked_for():
    assert [batch.size for batch in copy(validation_sequences=7).validation(rng(), 3)] == [3, 3, 3]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("symbols", 0),
        ("alphabet", 1),
        ("data", "stale"),
        ("sequences", 0),
        ("symbol", 3),
        ("validation_sequences", 0),
    ],
)
def test_an_option_out_of_range_is_named(option, value):
    with pytest.raises(ValidationError, match=option):
        Copy.Options(**{option: value})


@pytest.mark.parametrize("length", [0, -1, 10**9])
def test_a_length_out_of_range_is_refused_with_the_range(length):
    with pytest.raises(UsageError, match=r"copy: length .* use 1 to 1,000,000"):
        Copy(Copy.Options(), length)


@pytest.mark.parametrize(
    "options", [{}, {"symbols": 1, "alphabet": 2}, {"data": "fixed", "sequences": 3000}], ids=str
)
def test_copy_conforms(options):
    results = [run_check(check) for check in checks_for_task(Copy, options, constant_baseline=True)]
    assert [result for result in results if not result.passed] == []


def test_the_baseline_has_a_name():
    assert copy().facts()["baseline_name"] == "guess"
