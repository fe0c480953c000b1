"""Selective copy, temporal order and associative recall: against plain loops and papers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.contract import UsageError
from harness.testing.compare import run_check
from harness.testing.tasks import checks_for_task
from harness_tasks import AssociativeRecall, SelectiveCopy, TemporalOrder

SEEDS = st.integers(0, 2**32)
KINDS = (
    (SelectiveCopy, {}),
    (SelectiveCopy, {"symbols": 1, "alphabet": 2}),
    (TemporalOrder, {}),
    (TemporalOrder, {"symbols": 3}),
    (AssociativeRecall, {}),
    (AssociativeRecall, {"pairs": 2, "keys": 2, "values": 3, "power": 1.0}),
)


def drawn(task, length, seed=0, sequences=5, **options):
    return task(task.Options(**options), length).draw(np.random.default_rng(seed), sequences)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "options"), KINDS)
def test_the_kit_passes(task, options):
    failures = {}
    for check in checks_for_task(task, options, constant_baseline=True):
        outcome = run_check(check)
        if not outcome.passed:
            failures[check.name] = outcome.message
    assert failures == {}


@settings(deadline=None)
@given(length=st.integers(6, 50), symbols=st.integers(1, 6), seed=SEEDS)
def test_selective_copy_asks_for_what_is_no_blank_in_its_order(length, symbols, seed):
    batch = drawn(SelectiveCopy, length, seed, symbols=symbols, alphabet=5)
    for b in range(batch.size):
        read = [token for token in batch.inputs[:length, b] if token]
        assert len(read) == symbols
        assert set(read) <= set(range(1, 6))
        assert batch.inputs[length:, b].tolist() == [6] * symbols
        assert batch.targets[length:, b].tolist() == read
        assert not batch.mask[:length, b].any()
        assert batch.mask[length:, b].all()


def test_selective_copy_uses_every_position_evenly():
    batch = drawn(SelectiveCopy, 8, sequences=20_000, symbols=2)
    np.testing.assert_allclose((batch.inputs[:8] > 0).mean(axis=1), 2 / 8, atol=0.015)


@pytest.mark.parametrize(("symbols", "chance"), [(2, np.log(4)), (3, np.log(8))])
def test_the_chance_of_temporal_order_is_the_published_one(symbols, chance):
    task = TemporalOrder(TemporalOrder.Options(symbols=symbols), 100)
    assert task.baseline() == pytest.approx(chance, rel=1e-12)
    classes = np.unique(task.draw(np.random.default_rng(0), 500).targets)
    assert len(classes) == 2**symbols


@pytest.mark.parametrize(
    ("symbols", "windows"), [(2, [(10, 20), (50, 60)]), (3, [(10, 20), (33, 43), (66, 76)])]
)
def test_temporal_order_at_100_steps_is_that_of_the_paper(symbols, windows):
    batch = drawn(TemporalOrder, 100, sequences=3000, symbols=symbols)
    names = np.array(list("EBabcdXY"))
    positions, lengths = [], set()
    for b in range(batch.size):
        text = "".join(names[batch.inputs[:, b]])
        steps = text.index("B") + 1
        lengths.add(steps)
        assert text[0] == "E"
        assert set(text[steps:]) <= {"B"}
        assert np.flatnonzero(batch.mask[:, b]).tolist() == [steps - 1]
        said = [at for at, symbol in enumerate(text) if symbol in "XY"]
        positions.append(said)
        order = ["".join("XY"[int(digit)] for digit in f"{c:0{symbols}b}") for c in range(8)]
        assert "".join(text[at] for at in said) == order[batch.targets[steps - 1, b]]
    assert lengths == set(range(100, 111))
    for at, (low, high) in zip(np.transpose(positions), windows, strict=True):
        assert set(at) == set(range(low, high + 1))


@pytest.mark.parametrize("symbols", [2, 3])
@pytest.mark.parametrize("length", range(10, 40))
def test_short_sequences_of_temporal_order_keep_their_symbols_apart(length, symbols):
    batch = drawn(TemporalOrder, length, sequences=50, symbols=symbols)
    assert ((batch.inputs >= 6).sum(axis=0) == symbols).all()


@settings(deadline=None)
@given(length=st.integers(20, 60), pairs=st.integers(1, 5), seed=SEEDS)
def test_associative_recall_is_what_a_dictionary_says(length, pairs, seed):
    batch = drawn(AssociativeRecall, length, seed, pairs=pairs, keys=6, values=3)
    for b in range(batch.size):
        read = batch.inputs[:, b].tolist()
        pair = dict(zip(read[: 2 * pairs : 2], read[1 : 2 * pairs : 2], strict=True))
        assert set(pair) <= set(range(1, 7))
        assert set(pair.values()) <= {7, 8, 9}
        asked = np.flatnonzero(batch.mask[:, b])
        assert {read[t] for t in asked} == set(pair)
        assert len(asked) == len(pair) == pairs
        for t in range(2 * pairs, length):
            assert (read[t] > 0) == batch.mask[t, b]
            if read[t]:
                assert batch.targets[t, b] == pair[read[t]] - 7


def test_queries_stand_as_often_at_a_distance_as_weighted_choice_says():
    power, most, pairs, sequences = 0.3, 6, 2, 20_000
    batch = drawn(AssociativeRecall, 16, sequences=sequences, pairs=pairs, power=power)
    weights = np.arange(1, most + 1) ** (power - 1)
    rng, counts = np.random.default_rng(1), np.zeros(most)
    for _ in range(sequences):
        counts[rng.choice(most, size=pairs, replace=False, p=weights / weights.sum())] += 1
    shares = batch.mask[2 * pairs :: 2].mean(axis=1)
    np.testing.assert_allclose(shares, counts / sequences, atol=0.02)


@pytest.mark.parametrize(
    ("task", "options", "length", "least"),
    [(SelectiveCopy, {"symbols": 9}, 8, 9), (AssociativeRecall, {"pairs": 8}, 31, 32)],
)
def test_a_length_without_room_is_refused(task, options, length, least):
    with pytest.raises(UsageError, match=rf"length {length} is too short; use at least {least}"):
        task(task.Options(**options), length)


def test_more_pairs_than_keys_are_refused():
    with pytest.raises(ValidationError, match="5 pairs need as many keys; there are 4"):
        AssociativeRecall.Options(pairs=5, keys=4)
