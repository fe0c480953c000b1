import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.contract import PluginError, StepResult
from harness.measure.timing.clock import (
    BLOCK_SECONDS,
    WINDOW,
    Block,
    BlockScheduler,
    is_flat,
    time_steps,
)
from harness.measure.timing.speed import (
    MINIMUM_BLOCKS,
    rate_interval,
    speed_details,
    speed_figures,
    student,
)


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

    def __bool__(self):
        return float(self) > 0

    def __del__(self):
        self.clock.seconds += 0.125


class LazyTrainer:
    """Returns at once; work is done at every wait, at every fetch, and when a result is let go."""

    def __init__(self, clock):
        self.clock, self.steps = clock, 0

    def train_step(self, batch):
        self.steps += 1
        return StepResult(*(WorkOnFetch(self.clock) for _ in range(3)))

    def synchronize(self):
        self.clock.seconds += 10.0 * self.steps
        self.steps = 0


def test_a_block_ends_when_every_scalar_of_every_step_has_been_fetched_and_let_go():
    clock = FakeClock()
    steps, seconds = time_steps(LazyTrainer(clock), ["batch"] * 3, clock, "lazy")
    assert [(step.loss, step.norm, step.clipped) for step in steps] == [(2.0, 2.0, True)] * 3
    assert seconds == 3 * (10.0 + 3 * 1.125)


def test_a_wait_that_works_only_every_other_time_is_inside_the_block():
    class EveryOther(LazyTrainer):
        waits = 0

        def synchronize(self):
            self.waits += 1
            if self.waits % 2 == 0:
                super().synchronize()

    clock = FakeClock()
    trainer = EveryOther(clock)
    blocks = [time_steps(trainer, ["batch"] * 3, clock, "lazy")[1] for _ in range(3)]
    assert blocks == [3 * (10.0 + 3 * 1.125)] * 3


def test_a_step_without_a_result_names_the_plugin():
    class Nothing(LazyTrainer):
        def train_step(self, batch):
            return None

    with pytest.raises(PluginError, match="expected a StepResult, got NoneType; the lazy one"):
        time_steps(Nothing(FakeClock()), ["batch"], FakeClock(), "the lazy one")


def simulate(steps, step_seconds):
    """Run a scheduler to the end with ``step_seconds(step)``; return it and the block lengths."""
    scheduler, done, lengths = BlockScheduler(steps, step_seconds(0)), 0, []
    while done < steps:
        length = scheduler.next_steps(steps - done)
        scheduler.add(Block(length, length, sum(step_seconds(done + i) for i in range(length))))
        lengths.append(length)
        done += length
    return scheduler, lengths


def test_blocks_are_calibrated_to_a_tenth_of_a_second():
    scheduler, _ = simulate(4000, lambda step: 0.001)
    assert all(BLOCK_SECONDS <= block.seconds <= 2 * BLOCK_SECONDS for block in scheduler.steady)
    assert scheduler.flags() == []


def test_few_steps_still_give_enough_timed_blocks_for_an_interval_and_a_flag():
    scheduler, _ = simulate(20, lambda step: 0.001)
    assert rate_interval(scheduler.steady) is not None
    assert any("blocks shorter than 100 ms" in flag for flag in scheduler.flags())


def test_a_slow_start_is_warmed_up_and_not_counted():
    scheduler, _ = simulate(400, lambda step: 0.1 + 0.9 * 0.7**step)
    assert scheduler.flat
    assert scheduler.warm_up[0].step_seconds > 0.9
    assert all(block.step_seconds < 0.11 for block in scheduler.steady)


def test_a_warm_up_that_never_flattens_is_capped_and_flagged():
    scheduler, _ = simulate(400, lambda step: 10 * 0.93**step)
    assert sum(block.steps for block in scheduler.warm_up) <= 100
    assert any("before block times were flat" in flag for flag in scheduler.flags())


def test_slow_blocks_are_flagged():
    scheduler, _ = simulate(400, lambda step: 1.0 if step == 300 else 0.1)
    assert any("1 of" in flag and "3 times the median" in flag for flag in scheduler.flags())


def test_a_drift_after_warm_up_is_flagged():
    drifting, _ = simulate(400, lambda step: 0.1 if step < 200 else 0.2)
    steady, _ = simulate(400, lambda step: 0.1)
    assert any("drifted" in flag for flag in drifting.flags())
    assert steady.flags() == []


def test_no_step_left_means_no_block():
    assert BlockScheduler(0, 1.0).flags() == ["no timed block: raise --steps"]


@given(st.integers(1, 300), st.floats(1e-6, 10.0), st.integers(1, 50))
def test_every_step_is_done_once_whatever_the_interruptions(steps, seconds, every):
    scheduler, done = BlockScheduler(steps, seconds), 0
    while done < steps:
        limit = min(steps - done, every - done % every)
        length = scheduler.next_steps(limit)
        assert 1 <= length <= limit
        scheduler.add(Block(length, length, seconds * length))
        done += length
    assert done == sum(block.steps for block in scheduler.warm_up + scheduler.steady) == steps
    assert scheduler.steady


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


def test_the_speed_is_all_tokens_over_all_seconds_after_warm_up():
    scheduler, _ = simulate(250, lambda step: 0.1 if step < 50 else 0.01)
    total = sum(block.seconds for block in scheduler.warm_up + scheduler.steady)
    assert total == pytest.approx(
        50 * 0.1 + 200 * 0.01
    )  # a mean of 28 ms; what warm-up took is left out
    steps, seconds = (
        sum(getattr(block, name) for block in scheduler.steady) for name in ("steps", "seconds")
    )
    figures = speed_figures(scheduler, 7)
    assert figures["step_seconds_median"] == pytest.approx(seconds / steps)
    assert 0.02 < figures["step_seconds_median"] < 0.028
    assert figures["tokens_per_second"] == pytest.approx(steps / seconds)
    assert figures["flops_per_second"] == pytest.approx(7 * steps / seconds)
    assert (
        figures["tokens_per_second_low"]
        < figures["tokens_per_second"]
        < figures["tokens_per_second_high"]
    )
    spread = speed_details(scheduler)["block_tokens_per_second"]
    assert spread["min"] == pytest.approx(10)
    assert spread["max"] == pytest.approx(100)
    assert list(spread.values()) == sorted(spread.values())
    assert any("drifted" in flag for flag in scheduler.flags())


@pytest.mark.parametrize("n", [1, MINIMUM_BLOCKS - 1])
def test_too_few_blocks_have_no_interval(n):
    assert rate_interval([Block(1, 1, 0.1)] * n) is None


def test_equal_blocks_have_an_interval_of_no_width():
    assert rate_interval([Block(1, 10, 0.5)] * 8) == (20.0, 20.0)


@pytest.mark.parametrize("n", [6, 10, 40])
def test_the_interval_is_students_for_the_rate_of_blocks_of_equal_tokens(n):
    seconds = 1 + 0.01 * np.random.default_rng(n).standard_normal(n)
    low, high = rate_interval([Block(1, 10, value) for value in seconds])
    wanted = stats.t.interval(0.95, n - 1, seconds.mean(), stats.sem(seconds))
    assert (10 / high, 10 / low) == pytest.approx(wanted, rel=5e-4)


@pytest.mark.parametrize("degrees", [5, 6, 10, 100, 10_000])
def test_the_quantile_is_students(degrees):
    assert student(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=2e-3)


def test_the_interval_covers_the_rate_about_as_often_as_it_says():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        tokens = rng.integers(5, 50, 12)
        low, high = rate_interval(
            [Block(1, n, n * rng.gamma(20, 0.01 / 20)) for n in tokens.tolist()]
        )
        covered += low < 100 < high
    assert 0.91 < covered / 1000 < 0.98
