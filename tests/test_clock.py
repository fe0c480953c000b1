import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract import PluginError, StepResult
from harness.measure.clock import BLOCK_SECONDS, WINDOW, Block, Pace, is_flat, median_interval, time_steps


class FakeClock:
    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return self.seconds


class WorkOnFetch:
    """A scalar whose work takes a second, done when it is fetched."""

    def __init__(self, clock):
        self.clock = clock

    def __float__(self):
        self.clock.seconds += 1.0
        return 2.0


class LazyTrainer:
    """Returns at once; ``synchronize`` does half of the work, the fetch of the scalars the rest."""

    def __init__(self, clock):
        self.clock, self.steps = clock, 0

    def train_step(self, batch):
        self.steps += 1
        return StepResult(WorkOnFetch(self.clock), WorkOnFetch(self.clock))

    def synchronize(self):
        self.clock.seconds += 10.0 * self.steps


def test_a_block_ends_after_synchronize_and_the_fetch_of_the_last_scalars():
    clock = FakeClock()
    results, seconds = time_steps(LazyTrainer(clock), ["batch"] * 3, clock, "lazy")
    assert len(results) == 3
    assert seconds == 3 * 10.0 + 2


def test_a_step_without_a_result_names_the_plugin():
    class Nothing(LazyTrainer):
        def train_step(self, batch):
            return None

    with pytest.raises(PluginError, match="expected a StepResult, got NoneType; the lazy one"):
        time_steps(Nothing(FakeClock()), ["batch"], FakeClock(), "the lazy one")


def simulate(steps, step_seconds):
    """Run a pace to the end with ``step_seconds(step)`` and return it with the block lengths."""
    pace, done, lengths = Pace(steps, step_seconds(0)), 0, []
    while done < steps:
        length = pace.next_steps(steps - done)
        pace.add(Block(length, length, sum(step_seconds(done + i) for i in range(length))))
        lengths.append(length)
        done += length
    return pace, lengths


def test_blocks_are_calibrated_to_a_tenth_of_a_second():
    pace, _ = simulate(4000, lambda step: 0.001)
    assert all(BLOCK_SECONDS <= block.seconds <= 2 * BLOCK_SECONDS for block in pace.steady)
    assert pace.flags() == []


def test_few_steps_still_give_enough_timed_blocks_for_an_interval_and_a_flag():
    pace, _ = simulate(20, lambda step: 0.001)
    assert median_interval([block.step_seconds for block in pace.steady]) is not None
    assert any("blocks shorter than 100 ms" in flag for flag in pace.flags())


def test_a_slow_start_is_warmed_up_and_not_counted():
    pace, _ = simulate(400, lambda step: 0.1 + 0.9 * 0.7**step)
    assert pace.flat
    assert pace.warm_up[0].step_seconds > 0.9
    assert all(block.step_seconds < 0.11 for block in pace.steady)


def test_a_warm_up_that_never_flattens_is_capped_and_flagged():
    pace, _ = simulate(400, lambda step: 10 * 0.93**step)
    assert sum(block.steps for block in pace.warm_up) <= 100
    assert any("before block times were flat" in flag for flag in pace.flags())


def test_slow_blocks_are_flagged():
    pace, _ = simulate(400, lambda step: 1.0 if step == 300 else 0.1)
    assert any("1 of" in flag and "3 times the median" in flag for flag in pace.flags())


def test_a_drift_after_warm_up_is_flagged():
    drifting, _ = simulate(400, lambda step: 0.1 if step < 200 else 0.2)
    steady, _ = simulate(400, lambda step: 0.1)
    assert any("drifted" in flag for flag in drifting.flags())
    assert steady.flags() == []


def test_no_step_left_means_no_block():
    assert Pace(0, 1.0).flags() == ["no timed block: raise --steps"]


@given(st.integers(1, 300), st.floats(1e-6, 10.0), st.integers(1, 50))
def test_every_step_is_done_once_whatever_the_interruptions(steps, seconds, every):
    pace, done = Pace(steps, seconds), 0
    while done < steps:
        limit = min(steps - done, every - done % every)
        length = pace.next_steps(limit)
        assert 1 <= length <= limit
        pace.add(Block(length, length, seconds * length))
        done += length
    assert done == sum(block.steps for block in pace.warm_up + pace.steady) == steps
    assert pace.steady


@pytest.mark.parametrize(
    ("seconds", "flat"),
    [
        ([1.0] * WINDOW, True),
        ([1.0] * (WINDOW - 1), False),
        ([2.0, 1.6, 1.3, 1.1, 1.0], False),
        ([1, 1.02, 1, 1.01, 1], True),
    ],
)
def test_flatness_is_the_slope_over_a_whole_window(seconds, flat):
    assert is_flat(seconds) is flat


# Ranks (from 1) of the classical 95 % interval of the median: Hollander & Wolfe, Nonparametric Statistical Methods.
@pytest.mark.parametrize(("n", "low", "high"), [(6, 1, 6), (9, 2, 8), (20, 6, 15), (100, 40, 61)])
def test_the_interval_of_the_median_has_the_textbook_ranks(n, low, high):
    assert median_interval(range(1, n + 1)) == (low, high)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_too_few_values_have_no_interval(n):
    assert median_interval(range(n)) is None


@given(st.integers(6, 499))
def test_the_interval_covers_the_median_with_at_least_the_confidence_and_no_more_than_it_must(n):
    low, high = median_interval(range(n))
    assert high == n - 1 - low

    def coverage(skip):
        return 1 - 2 * sum(math.comb(n, k) for k in range(skip + 1)) / 2**n

    assert coverage(low) >= 0.95 > coverage(low + 1)


def test_the_approximation_for_many_blocks_agrees_with_the_exact_interval():
    exact, approximate = median_interval(range(500)), median_interval(range(501))
    assert abs(exact[0] - approximate[0]) <= 2  # one rank of rounding, one on the safe side
