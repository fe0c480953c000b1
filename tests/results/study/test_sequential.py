"""Verdicts on real runs of equal code, one after the other: the machine drifts between them."""

import itertools
import json
from collections import Counter
from functools import cache

import pytest

import paths
from harness_results.study.verdicts.statistics import DEFAULT_DRIFT, DEFAULT_FLOOR, compare_speed

pytestmark = pytest.mark.slow

MEASURED = paths.ROOT / "results" / "measured" / "sequential.json"
RUNS = json.loads(MEASURED.read_text())[
    "seconds_per_step"
]  # engine -> one list per run -> one median per launch
PAIRS = [pair for runs in RUNS.values() for pair in itertools.permutations(runs, 2)]


@cache
def verdicts(drift, slowdown=0.0):
    effects = (
        compare_speed(base, [(1 + slowdown) * s for s in new], DEFAULT_FLOOR, drift)
        for base, new in PAIRS
    )
    return Counter(effect.verdict for effect in effects)


def alarms(counts):
    return (counts["faster"] + counts["slower"]) / len(PAIRS)


def test_runs_of_equal_code_look_different_where_their_drift_is_not_reckoned_with():
    assert alarms(verdicts(0.0)) > 0.1


def test_with_the_drift_equal_code_is_called_different_in_at_most_1_of_100_comparisons():
    assert alarms(verdicts(DEFAULT_DRIFT)) <= 0.01


def test_nothing_is_called_the_same_or_more_than_it_is_within_the_drift():
    assert verdicts(DEFAULT_DRIFT)["same"] == 0
    assert verdicts(DEFAULT_DRIFT, 0.03)["faster"] == 0


def test_a_large_slowdown_is_found_all_the_same():
    assert verdicts(DEFAULT_DRIFT, 0.4)["slower"] >= 0.95 * len(PAIRS)
