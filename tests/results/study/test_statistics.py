"""Verdicts on real launches: false alarms are rare, and real slowdowns are found."""

import json
from collections import Counter

import numpy as np
import pytest

import paths
from harness_results.study.verdicts.statistics import (
    DEFAULT_FLOOR,
    Effect,
    compare_speed,
    median_of_launches,
    noise_floor,
)

MEASURED = paths.ROOT / "results" / "measured" / "launches.json"
RECORDED = json.loads(MEASURED.read_text())[
    "seconds_per_step"
]  # engine -> one median per launch of equal code
COMPARISONS, LAUNCHES = 200, 5
COVERAGE = 0.93  # of 95 % intervals, in 200 comparisons: 1.3 standard deviations below


def verdicts(engine, slowdown):
    """Return the effects of 200 comparisons of resampled launches; one side has the slowdown."""
    recorded = np.asarray(RECORDED[engine])
    floor = noise_floor(recorded, recorded, LAUNCHES)
    rng = np.random.default_rng(0)
    samples = rng.choice(recorded, (COMPARISONS, 2, LAUNCHES))
    return [compare_speed(base, (1 + slowdown) * new, floor) for base, new in samples]


@pytest.mark.parametrize("engine", RECORDED)
def test_equal_code_is_called_different_in_at_most_1_of_100_comparisons(engine):
    counts = Counter(effect.verdict for effect in verdicts(engine, 0.0))
    assert counts["faster"] + counts["slower"] <= 0.01 * COMPARISONS


@pytest.mark.parametrize("engine", RECORDED)
def test_a_slowdown_of_10_percent_is_found_in_at_least_95_of_100_comparisons(engine):
    counts = Counter(effect.verdict for effect in verdicts(engine, 0.10))
    assert counts["slower"] >= 0.95 * COMPARISONS


@pytest.mark.parametrize("engine", RECORDED)
def test_a_slowdown_of_3_percent_is_called_what_it_is(engine):
    change = 1 / 1.03 - 1
    effects = verdicts(engine, 0.03)
    assert not any(effect.verdict == "faster" for effect in effects)
    assert sum(effect.low <= change <= effect.high for effect in effects) >= COVERAGE * COMPARISONS


def test_what_is_surely_small_is_the_same():
    base = [1.0, 1.001, 0.999, 1.002, 0.998]
    assert compare_speed(base, [1.01 * x for x in base], DEFAULT_FLOOR).verdict == "same"


def test_one_pair_of_launches_may_be_in_the_wrong_order():
    base, new = [1.0, 1.01, 1.02, 1.03, 1.205], [1.2, 1.21, 1.22, 1.23, 1.24]
    assert compare_speed(base, new, 0.03).verdict == "slower"
    assert compare_speed(base, new, 0.30).verdict == "cannot_tell"


def test_two_single_launches_prove_nothing():
    assert compare_speed([1.0], [2.0], 0.03) == Effect(
        "cannot_tell", -0.5, reason="one launch each: measure with --launches 5 or more"
    )


def test_the_interval_of_a_median_is_the_bootstraps_where_it_can_be():
    values = [1.0, 1.3, 0.9, 1.1, 1.05, 1.2, 0.95, 1.15]
    middle, interval = median_of_launches(values)
    assert middle == pytest.approx(1.075)
    assert interval.kind == "bootstrap-bca"
    assert min(values) <= interval.low < middle < interval.high <= max(values)
    assert median_of_launches(values) == (middle, interval)


@pytest.mark.parametrize(
    ("values", "kind", "ends"),
    [
        ([2.0], None, None),
        ([1.0, 3.0, 2.0], "range", (1.0, 3.0)),
        ([1.0] * 6, "bootstrap-percentile", (1.0, 1.0)),
    ],
)
def test_where_bca_has_no_number_another_interval_says_what_it_is(values, kind, ends):
    _, interval = median_of_launches(values)
    assert (interval and interval.kind) == kind
    assert interval is None or (interval.low, interval.high) == ends


def test_the_interval_covers_the_true_median_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(100):
        _, interval = median_of_launches(rng.lognormal(0, 0.1, 12).tolist())
        hits += interval.low <= 1.0 <= interval.high
    assert (
        hits >= 88
    )  # of 95 expected; the bootstrap of a median is a little short with 12 launches


def test_the_noise_floor_shrinks_with_launches_and_grows_with_scatter():
    rng = np.random.default_rng(0)
    quiet, loud = (np.exp(scale * rng.standard_normal((2, 20))) for scale in (0.01, 0.05))
    assert noise_floor(*quiet, 10) < noise_floor(*quiet, 5) < noise_floor(*loud, 5)
    assert noise_floor([1.0] * 5, [1.0] * 5, 5) == 0


def test_one_lucky_launch_changes_nothing():
    effect = compare_speed(
        [1.0, 1.001, 0.999, 1.0, 0.5], [1.0, 1.001, 0.999, 1.0, 1.002], DEFAULT_FLOOR
    )
    assert abs(effect.change) < 0.002
    assert effect.verdict not in {"slower", "faster"}


def test_medians_that_differ_prove_nothing_where_the_launches_as_a_whole_do_not():
    base, new = [1.0] * 16 + [2.0] * 4, [1.2] * 16 + [0.8] * 4
    effect = compare_speed(base, new, DEFAULT_FLOOR)
    assert effect.high < -0.1  # the bootstrap of the median is sure
    assert (effect.verdict, effect.p_value > 0.02) == ("cannot_tell", True)
