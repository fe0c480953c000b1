"""Parity, word problem, dyck and counting: against plain loops, matrices and the kit."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.contract import UsageError
from harness.testing.compare import run_check
from harness.testing.tasks import checks_for_task
from harness_tasks import Counting, Dyck, Parity, WordProblem
from harness_tasks.formal.groups import multiplication_table, order

SEEDS = st.integers(0, 2**32)
KINDS = (
    (Parity, {}),
    (Parity, {"targets": "last"}),
    (WordProblem, {}),
    (WordProblem, {"group": "A4xZ5", "targets": "last"}),
    (Dyck, {}),
    (Dyck, {"kinds": 1, "depth": 2}),
    (Dyck, {"kinds": 3, "depth": 40}),
    (Counting, {}),
    (Counting, {"language": "anbncn"}),
)


def drawn(task, length, seed=0, sequences=5, **options):
    return task(task.Options(**options), length).draw(np.random.default_rng(seed), sequences)


@pytest.mark.slow
@pytest.mark.parametrize(("task", "options"), KINDS)
def test_the_kit_passes(task, options):
    least = 6 if options.get("language") == "anbncn" else task.minimum_length
    lengths = (least, least + 20)
    failures = {}
    for check in checks_for_task(task, options, lengths, constant_baseline=True):
        outcome = run_check(check)
        if not outcome.passed:
            failures[check.name] = outcome.message
    assert failures == {}


@given(length=st.integers(1, 40), seed=SEEDS)
def test_parity_is_the_number_of_ones_so_far_modulo_two(length, seed):
    batch = drawn(Parity, length, seed)
    np.testing.assert_array_equal(batch.targets, np.cumsum(batch.inputs, axis=0) % 2)


def test_targets_at_the_last_step_only_are_masked():
    every, last = drawn(Parity, 7), drawn(Parity, 7, targets="last")
    np.testing.assert_array_equal(every.targets[-1], last.targets[-1])
    assert every.mask.all()
    assert last.mask.sum(axis=0).tolist() == [1] * 5
    assert last.mask[-1].all()


def matrices(name, size):
    """Return the permutation matrices of a group in the order of its elements."""
    every = [np.eye(size)[list(each)] for each in itertools.permutations(range(size))]
    return [each for each in every if name[0] == "S" or np.linalg.det(each) > 0]


@pytest.mark.parametrize(("group", "size"), [("S3", 3), ("A4", 4), ("S5", 5), ("A5", 5)])
def test_word_problems_are_products_of_permutation_matrices(group, size):
    batch = drawn(WordProblem, 30, sequences=3, group=group)
    elements = matrices(group, size)
    assert len(elements) == order(group)
    for b in range(3):
        product = np.eye(size)
        for x, y in zip(batch.inputs[:, b], batch.targets[:, b], strict=True):
            product = product @ elements[x]
            np.testing.assert_array_equal(product, elements[y])


@pytest.mark.parametrize(
    ("group", "size", "commutes"),
    [
        ("Z2", 2, True),
        ("Z60", 60, True),
        ("A4xZ5", 60, False),
        ("A5", 60, False),
        ("S4", 24, False),
    ],
)
def test_tables_are_those_of_groups(group, size, commutes):
    table = multiplication_table(group)
    elements = np.arange(size)
    assert table.shape == (size, size)
    for rows in (table, table.T):
        np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile(elements, (size, 1)))
    np.testing.assert_array_equal(table[0], elements)
    np.testing.assert_array_equal(table[:, 0], elements)
    np.testing.assert_array_equal(table[table], table[:, table])  # (ab)c and a(bc)
    assert np.array_equal(table, table.T) == commutes


@pytest.mark.parametrize("group", ["Z1", "S7", "Q8", "", "S3x", "Z2000", "S3xS6", "z5", "S999"])
def test_what_is_no_group_or_too_large_is_refused(group):
    with pytest.raises(ValidationError, match="group"):
        WordProblem.Options(group=group)


@settings(deadline=None)
@given(length=st.integers(2, 60), kinds=st.integers(1, 4), depth=st.integers(2, 6), seed=SEEDS)
def test_dyck_is_what_a_stack_says(length, kinds, depth, seed):
    batch = drawn(Dyck, length, seed, kinds=kinds, depth=depth)
    for b in range(batch.size):
        stack = []
        for symbol, follows in zip(batch.inputs[:, b], batch.targets[:, b], strict=True):
            if symbol < kinds:
                stack.append(symbol)
            else:
                assert stack.pop() == symbol - kinds
            assert len(stack) <= depth
            opening = set(range(kinds)) if len(stack) < depth else set()
            closing = {kinds + stack[-1]} if stack else set()
            assert set(np.flatnonzero(follows)) == opening | closing


def test_dyck_draws_every_kind_and_depth_evenly():
    batch = drawn(Dyck, 40, sequences=2000, kinds=3, depth=4)
    opening = batch.inputs < 3
    shares = np.bincount(batch.inputs[opening], minlength=3) / opening.sum()
    np.testing.assert_allclose(shares, 1 / 3, atol=0.01)
    depth = np.cumsum(2 * opening - 1, axis=0)
    between = (depth[:-1] > 0) & (depth[:-1] < 4)
    assert opening[1:][between].mean() == pytest.approx(0.5, abs=0.01)
    assert depth.max() == 4


@settings(deadline=None)
@given(length=st.integers(6, 60), language=st.sampled_from(["anbn", "anbncn"]), seed=SEEDS)
def test_counting_is_a_string_with_what_may_follow(length, language, seed):
    batch = drawn(Counting, length, seed, language=language)
    letters = "abc"[: len(language) // 2]
    for b in range(batch.size):
        steps = int(batch.mask[:, b].sum())
        n, remainder = divmod(steps, len(letters))
        assert remainder == 0
        assert 1 <= n <= length // len(letters)
        text = "".join(letter * n for letter in letters) + "$"
        symbols = "$" + letters
        read = "".join(symbols[token] for token in batch.inputs[:, b])
        assert read == text[:-1] + "$" * (length - steps)
        assert batch.mask[:steps, b].all()
        for t in range(steps):
            follows = {symbols[k] for k in np.flatnonzero(batch.targets[t, b])}
            assert follows == ({"a", "b"} if text[t] == "a" else {text[t + 1]})


def test_counting_draws_every_n():
    assert set(drawn(Counting, 12, sequences=500).mask.sum(axis=0) // 2) == set(range(1, 7))


def test_a_length_that_a_language_cannot_use_is_refused():
    with pytest.raises(UsageError, match=r"anbncn: length 5 is too short; use at least 6"):
        Counting(Counting.Options(language="anbncn"), 5)


@pytest.mark.parametrize("task", [Dyck, Counting])
def test_one_wrong_set_makes_its_sequence_wrong(task):
    instance = task(task.Options(), 12)
    batch = instance.draw(np.random.default_rng(0), 4)
    outputs = 2 * batch.targets - 1
    outputs[0, 1, 0] *= -1
    score = instance.score(batch, outputs)
    counted = float(batch.mask.sum())
    assert (score.hits, score.total) == (3, 4)
    assert score.extra["every_step"] == (counted - 1, counted)
