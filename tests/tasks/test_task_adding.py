from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.contract import Evaluation, UsageError
from harness.testing.compare import run_check
from harness.testing.tasks import checks_for_task
from harness_tasks import Adding

VARIANTS = ("halves", "anywhere", "pascanu", "hs97")
MINIMUM = {"halves": 2, "anywhere": 2, "pascanu": 10, "hs97": 11}
LENGTHS = st.integers(0, 60)  # above the variant's minimum


def adding(length=20, **options):
    task = Adding(Adding.Options(**options), length)
    task.check()
    task.prepare(np.random.SeedSequence(0))
    return task


def rng(seed=0):
    return np.random.default_rng(seed)


def drawn(variant, above=30, seed=0, sequences=8):
    """Return the task, a batch, and each sequence's length, marked positions and numbers."""
    task = adding(MINIMUM[variant] + above, variant=variant)
    batch = task.draw(rng(seed), sequences)
    lengths = np.argmax(batch.mask, axis=0) + 1
    marked = [np.flatnonzero(batch.inputs[:, b, 1] == 1) for b in range(sequences)]
    return task, batch, lengths, marked, batch.inputs[:, :, 0]


@pytest.mark.parametrize("variant", VARIANTS)
@settings(deadline=None)
@given(above=LENGTHS, seed=st.integers(0, 2**32))
def test_targets_are_the_sums_of_the_two_marked_numbers(variant, above, seed):
    _, batch, lengths, marked, numbers = drawn(variant, above, seed)
    for b, places in enumerate(marked):
        assert len(places) == 2
        total = numbers[places, b].sum()
        wanted = {"pascanu": total / 2, "hs97": 0.5 + total / 4}.get(variant, total)
        # The order of one addition.
        assert batch.targets[lengths[b] - 1, b, 0] == pytest.approx(wanted, abs=1e-15)


@pytest.mark.parametrize("variant", VARIANTS)
@settings(deadline=None)
@given(above=LENGTHS, seed=st.integers(0, 2**32))
def test_only_the_last_step_of_each_sequence_counts_and_the_rest_is_zeros(variant, above, seed):
    task, batch, lengths, _, _ = drawn(variant, above, seed)
    assert batch.inputs.shape == (task.time_steps, 8, 2)
    assert batch.inputs.dtype == batch.targets.dtype == np.float64
    assert batch.targets.shape == (task.time_steps, 8, 1)
    assert (batch.mask.sum(axis=0) == 1).all()
    assert (batch.targets[~batch.mask] == 0).all()
    assert all((batch.inputs[lengths[b] :, b] == 0).all() for b in range(8))


@settings(deadline=None)
@given(above=LENGTHS, seed=st.integers(0, 2**32))
def test_halves_marks_one_position_in_each_half(above, seed):
    task, _, _, marked, _ = drawn("halves", above, seed)
    assert all(first < task.length // 2 <= second for first, second in marked)


@settings(deadline=None)
@given(above=LENGTHS, seed=st.integers(0, 2**32))
def test_pascanu_marks_the_first_tenth_and_the_rest_of_the_first_half(above, seed):
    task, _, lengths, marked, _ = drawn("pascanu", above, seed)
    assert ((lengths >= task.length) & (lengths <= task.length + task.length // 10)).all()
    for length, (first, second) in zip(lengths, marked, strict=True):
        assert first < length // 10 <= second < length // 2


@settings(deadline=None)
@given(above=LENGTHS, seed=st.integers(0, 2**32))
def test_hs97_marks_the_ends_and_a_pair_near_the_start(above, seed):
    task, batch, lengths, marked, numbers = drawn("hs97", above, seed)
    assert numbers.min() >= -1
    assert (batch.inputs[0, :, 1] == -1).all()
    assert (batch.inputs[lengths - 1, np.arange(8), 1] == -1).all()
    for places in marked:
        assert any(
            place < 10 and other < max(task.length // 2, 2)
            for place, other in (places, places[::-1])
        )


@pytest.mark.parametrize(
    ("variant", "reached"),
    [
        ("halves", set(range(20))),
        ("anywhere", set(range(20))),
        ("pascanu", set(range(11))),
        ("hs97", set(range(1, 10))),
    ],
)
def test_every_position_that_may_be_marked_is(variant, reached):
    batch = adding(20, variant=variant).draw(rng(), 3000)
    assert set(np.flatnonzero((batch.inputs[:, :, 1] == 1).any(axis=1))) == reached


@pytest.mark.parametrize(
    ("variant", "baseline", "mean"),
    [
        ("halves", 1 / 6, 1.0),
        ("anywhere", 1 / 6, 1.0),
        ("pascanu", 1 / 24, 0.5),
        ("hs97", 1 / 24, 0.5),
    ],
)
def test_baseline_is_exact_and_that_of_predicting_the_mean(variant, baseline, mean):
    task = adding(30, variant=variant)
    batch = task.draw(rng(), 100_000)
    values = batch.targets[batch.mask]
    assert task.baseline() == pytest.approx(baseline, rel=1e-15)
    assert task.facts()["mean_target"] == mean
    # Standard error of the variance over 1e5 draws: 0.4 %; five of them.
    assert np.mean((values - mean) ** 2) == pytest.approx(baseline, rel=0.02)
    assert values.mean() == pytest.approx(mean, abs=0.01)
    assert task.floor() == 0


def test_accuracy_counts_errors_below_004():
    task = adding()
    batch = task.draw(rng(), 4)
    outputs = batch.targets + np.array([0.0, 0.039, -0.041, 5.0])[None, :, None]
    score = task.score(batch, outputs)
    assert (score.hits, score.total) == (2, 4)


@pytest.mark.parametrize("variant", ["halves", "anywhere"])
def test_without_a_published_criterion_a_loss_below_001_solves(variant):
    task = adding(variant=variant)
    assert task.solved(Evaluation(0, 0.00999, accuracy=0.3))
    assert not task.solved(Evaluation(0, 0.01001, accuracy=1.0))
    assert "this project's" in task.criterion


def test_pascanu_is_solved_where_one_sequence_in_a_hundred_is_off():
    task = adding(variant="pascanu")
    assert task.solved(Evaluation(0, 1.0, accuracy=0.99))
    assert not task.solved(Evaluation(0, 0.0, accuracy=0.9899))
    assert "Pascanu" in task.criterion


def test_hs97_is_solved_where_no_sequence_is_off():
    task = adding(variant="hs97")
    assert task.solved(Evaluation(0, 1.0, accuracy=1.0))
    assert not task.solved(Evaluation(0, 0.0, accuracy=0.9999))
    assert "Hochreiter" in task.criterion


def test_data_come_again_in_a_fixed_set_alone():
    assert adding(data="fixed", sequences=10).steps_per_epoch(4) == 2.5
    assert adding().steps_per_epoch(4) is None


def test_a_fixed_set_repeats_its_sequences():
    task = adding(variant="pascanu", data="fixed", sequences=10)
    batches = islice(task.training(rng(), 4), 20)
    assert len({batch.inputs[:, b].tobytes() for batch in batches for b in range(4)}) == 10


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_length_too_short_for_the_variant_is_refused_with_the_range(variant):
    shortest = MINIMUM[variant]
    adding(shortest, variant=variant).draw(rng(), 5)
    with pytest.raises(UsageError, match=f"use {shortest} to 1,000,000"):
        adding(shortest - 1, variant=variant)


def test_an_unknown_variant_names_those_there_are():
    with pytest.raises(ValidationError, match="'halves', 'anywhere', 'pascanu' or 'hs97'"):
        Adding.Options(variant="quarters")


@pytest.mark.parametrize("variant", VARIANTS)
def test_adding_conforms(variant):
    lengths = (MINIMUM[variant], 33)
    results = [
        run_check(c)
        for c in checks_for_task(Adding, {"variant": variant}, lengths, constant_baseline=True)
    ]
    assert [result for result in results if not result.passed] == []
