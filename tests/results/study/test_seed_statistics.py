"""Statistics of seeds, against scipy and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from harness_results.study.seeds.statistics import (
    median_interval,
    pairs_needed,
    proportion_interval,
    sign_flip,
    spread,
    survival_median,
)

LEVEL = 0.05


def rank_sum(x, axis=-1):
    return (np.sign(x) * stats.rankdata(np.abs(x), axis=axis)).sum(axis)


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (0, 5), (3, 5), (5, 5), (7, 10)])
def test_the_interval_of_a_proportion_is_exact(successes, trials):
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="exact")
    assert proportion_interval(successes, trials) == pytest.approx(tuple(expected))


def test_the_spread_is_the_range_of_four_and_the_quartiles_of_more():
    values = [0.3, 0.1, 0.9, 0.2]
    assert spread(values) == (0.1, 0.9)
    assert spread([*values, 0.4]) == pytest.approx(tuple(np.quantile([*values, 0.4], [0.25, 0.75])))
    assert spread([*values, 0.4, math.inf]) == pytest.approx((0.225, 0.775))
    assert spread([0.1, 0.2, 0.3, math.inf, math.inf]) == (0.2, math.inf)


@pytest.mark.parametrize("seed", range(40))
def test_the_median_time_is_that_of_kaplan_and_meier(seed):
    rng = np.random.default_rng(seed)
    times, events = rng.integers(1, 9, rng.integers(1, 13)), rng.random(12) < 0.6
    observations = list(zip(times.tolist(), events[: len(times)].tolist(), strict=True))
    times, events = map(list, zip(*observations, strict=True))
    data = stats.CensoredData(
        uncensored=[t for t, event in observations if event],
        right=[t for t, event in observations if not event],
    )
    survival = stats.ecdf(data).sf
    at_most_half = survival.quantiles[survival.probabilities <= 0.5 + 1e-12]
    seen = [t for t in at_most_half if t in {t for t, event in observations if event}]
    assert survival_median(times, events) == (seen[0] if seen else None)


def test_a_seed_that_never_solves_is_not_dropped():
    assert survival_median([100, 200, math.inf], [True, True, False]) == 200
    assert survival_median([100, 500, math.inf], [True, False, False]) is None


@pytest.mark.parametrize("seed", range(20))
def test_sign_flips_are_those_of_scipy(seed):
    rng = np.random.default_rng(seed)
    differences = rng.normal(0.5, 1, rng.integers(2, 10)).round(1)  # with ties
    expected = stats.permutation_test(
        (np.array(differences),), rank_sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip(differences) == pytest.approx(min(1, expected))


def test_the_p_value_without_ties_is_wilcoxons():
    differences = np.random.default_rng(0).normal(0.4, 1, 12)
    assert sign_flip(differences) == pytest.approx(stats.wilcoxon(differences).pvalue)
    many = np.random.default_rng(1).normal(0.4, 1, 25)
    exact = stats.wilcoxon(many, method="exact").pvalue
    assert sign_flip(many) == pytest.approx(exact, abs=4 * math.sqrt(exact / 10_000))


def test_infinite_differences_count_as_the_largest():
    assert sign_flip([-0.1, -0.2, -0.3, -0.4, -0.5, -math.inf]) == 2 / 2**6
    assert sign_flip([0.0] * 8) == 1


@pytest.mark.parametrize("count", [5, 6, 9, 10, 20])
def test_the_interval_of_the_median_is_that_of_the_sign_test(count):
    values = np.random.default_rng(count).normal(size=count)
    interval = stats.quantile_test(values, p=0.5).confidence_interval(0.95)
    expected = None if math.isnan(interval.low) else pytest.approx(tuple(interval))
    assert median_interval(values) == expected


def test_pairs_needed_is_the_fewest_that_can_decide():
    assert [pairs_needed(m) for m in (1, 2, 10)] == [6, 7, 9]
    for comparisons in (1, 2, 3, 10, 50):
        needed = pairs_needed(comparisons)
        assert sign_flip(range(1, needed + 1)) * comparisons <= LEVEL
        assert sign_flip(range(1, needed)) * comparisons > LEVEL


def test_equal_networks_are_called_different_in_at_most_eight_of_a_hundred_splits():
    rng = np.random.default_rng(3)
    # losses as those of an LSTM on adding: most seeds solve it, some stay at the baseline, one
    # diverges
    losses = np.concatenate([rng.lognormal(-7, 1, 14), rng.normal(0.167, 0.005, 5), [math.inf]])
    wrong = 0
    for _ in range(200):
        left, right = rng.permutation(losses).reshape(2, 10)
        with np.errstate(invalid="ignore"):
            wrong += sign_flip(np.nan_to_num(right - left, nan=0, posinf=math.inf)) <= LEVEL
    assert wrong <= 0.08 * 200
