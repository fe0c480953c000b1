import numpy as np
import pytest

from harness.hidden_units.auc import areas, character_scores


def counted(values, mask):
    """Return the area by its definition: over all pairs, an equal pair counts one half."""
    pairs = values[mask][:, None] - values[~mask][None, :]
    return np.mean((pairs > 0) + 0.5 * (pairs == 0))


@pytest.mark.parametrize("decimals", [0, 1, 12])
def test_the_area_is_the_share_of_ordered_pairs(decimals):
    rng = np.random.default_rng(1)
    mask = rng.random(300) < 0.2
    values = np.round(rng.normal(size=300) + mask, decimals)
    assert areas(values, [mask, ~mask]) == pytest.approx(
        [counted(values, mask), 1 - counted(values, mask)]
    )


def test_the_area_is_the_statistic_of_mann_and_whitney():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(2)
    mask, values = rng.random(500) < 0.3, np.round(rng.normal(size=500), 1)
    statistic = stats.mannwhitneyu(values[mask], values[~mask]).statistic
    assert areas(values, [mask]) == pytest.approx([statistic / (mask.sum() * (~mask).sum())])


def test_perfect_reversed_and_shuffled_values():
    mask = np.arange(4000) >= 2000
    values = np.arange(4000.0)
    assert areas(values, [mask]) == [1.0]
    assert areas(-values, [mask]) == [0.0]
    assert areas(np.zeros(4000), [mask]) == [0.5]
    assert areas(np.random.default_rng(0).permutation(values), [mask]) == pytest.approx(
        [0.5], abs=0.03
    )


@pytest.mark.parametrize("mask", [np.zeros(3, dtype=bool), np.ones(3, dtype=bool)])
def test_a_class_without_members_or_without_others_has_no_area(mask):
    assert np.isnan(areas(np.arange(3.0), [mask])).all()


def test_characters_are_counted_on_the_first_part_only():
    characters = np.array([0, 0, 0, 1, 1, 2, 0, 1, 2])
    mask = np.array([True, True, False, False, False, False, True, True, True])
    scores = character_scores(characters, mask, 5)
    assert scores[[0, 3, 5]] == pytest.approx([2.4 / 4, 0.4 / 3, 0.4])
    assert np.array_equal(scores[6:], scores[[0, 3, 5]])
