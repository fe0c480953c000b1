"""The progress of a sweep, in numbers and in words."""

import pytest

from builders import trial_of
from harness.contract import Record
from harness.sweep.estimate import estimate
from harness.sweep.tally import Tally, span, summary


def trial(**changes):
    return trial_of(**({"length": 3} | changes))


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_a_tally_counts_and_foresees_the_end():
    clock = Clock()
    tally = Tally(10, reused=4, clock=clock)
    assert (tally.left, tally.seconds_left) == (6, None)
    for status in ("ok", "crashed"):
        tally.start(trial())
        clock.now += 30
        tally.end(Record(trial(), status, "SIGSEGV\nagain"))
    tally.start(trial(seed=1))
    assert (tally.ended, tally.left, len(tally.running)) == (2, 3, 1)
    assert tally.seconds_left == 30 * 4
    told = summary(tally)
    assert told.startswith("1 running, 1 failed, 3 left, 120 an hour, 2 min to go, to ")
    assert told.endswith("last failure: copy lstm T=3 numpy:loop: crashed: SIGSEGV again")
    assert tally.facts()["ended"] == {"ok": 1, "crashed": 1}


def test_what_an_engine_does_not_run_is_no_failure():
    tally = Tally(4)
    for status in ("failed", "unsupported", "ok", "unsupported"):
        tally.end(Record(trial(), status, f"it {status}"))
    assert summary(tally).startswith("0 running, 1 failed, 2 unsupported, 0 left")
    assert tally.failure.endswith("failed: it failed")


def test_what_runs_and_what_failed_is_named_by_what_varies():
    tally = Tally(2, names=("seed", "hidden"))
    tally.start(trial(seed=1, hidden=9))
    tally.start(trial(seed=2, hidden=9))
    tally.end(Record(trial(seed=1, hidden=9), "crashed", "SIGSEGV"))
    assert tally.facts()["running"] == ["copy lstm T=3 numpy:loop seed=2 hidden=9"]
    assert tally.failure == "copy lstm T=3 numpy:loop seed=1 hidden=9: crashed: SIGSEGV"


def test_what_others_do_is_not_left():
    tally = Tally(3, elsewhere=2)
    assert (tally.left, "2 by another process" in summary(tally)) == (1, True)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (75, "75 s"), (600, "10 min"), (7500, "2 h 5 min"), (200_000, "2 d 7 h")],
)
def test_a_duration_is_told_in_two_units(seconds, words):
    assert span(seconds) == words


def test_an_estimate_is_the_median_of_the_same_network_and_engine_whatever_the_seed():
    history = [(trial(seed=seed).content(), seconds) for seed, seconds in enumerate((10, 20, 90))]
    found = estimate([trial(seed=7), trial(seed=7), trial(length=4)], history)
    assert (found.seconds, found.timed, found.unknown) == (40, 2, 1)
    assert str(found) == "about 40 s for 2 launches; 1 more is like none that was measured here"
    assert str(estimate([trial()], history)) == "about 20 s for 1 launch"
    assert str(estimate([trial()], [])).startswith("no estimate")
