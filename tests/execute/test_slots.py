"""Launches at once get disjoint processors and GPUs, or are refused with the arithmetic."""

import pytest

from builders import small_trial
from harness.contract import UsageError
from harness.execute.slots import Slots, as_asked, one_per_core_first, read_slots


def trial(threads=1, device="cpu"):
    return small_trial("faulty:good", task="echo", threads=threads, device=device)


def test_one_launch_at_a_time_is_bound_to_nothing():
    slots = read_slots(1, None, [trial(threads=8)], [0])
    assert (slots, slots.jobs, slots.processors_of(0, trial())) == (Slots(), 1, ())


def test_every_slot_has_processors_for_the_largest_trial_and_shares_none():
    slots = read_slots(3, None, [trial(), trial(threads=2)], [3, 4, 6, 7, 8, 9])
    assert slots.jobs == 3
    assert len({processor for slot in slots.processors for processor in slot}) == 6
    assert [len(slots.processors_of(number, trial(threads=2))) for number in range(3)] == [2, 2, 2]


def test_a_launch_takes_no_more_processors_than_it_has_threads():
    slots = read_slots(2, None, [trial(threads=2)], [0, 1, 2, 3])
    assert len(slots.processors_of(1, trial())) == 1


def test_two_processors_of_one_core_come_as_late_as_can_be():
    assert one_per_core_first([0, 1, 2, 3, 4], {0: "a", 1: "a", 2: "b", 3: "b"}) == [0, 2, 4, 1, 3]


def test_launches_that_do_not_fit_are_refused_with_the_arithmetic():
    with pytest.raises(
        UsageError, match=r"2 x 2 threads need 4 processors, there are 3 \(0,1,5\): take --jobs 1"
    ):
        read_slots(2, None, [trial(threads=2)], [0, 1, 5])
    with pytest.raises(UsageError, match="lower --threads"):
        read_slots(2, None, [trial(threads=2)], [0])


@pytest.mark.parametrize(
    ("jobs", "gpus", "devices", "message"),
    [
        (1, "0,0", ["gpu"], "numbers of different GPUs"),
        (1, "first", ["gpu"], "numbers of different GPUs"),
        (1, "0", ["cpu"], "--gpus would have no effect"),
        (1, "0", ["gpu:1"], "give --device gpu, not gpu:1"),
        (1, "0,1", ["gpu"], "--gpus names 2 GPUs, --jobs 1 uses 1: add --jobs 2"),
        (2, "0", ["gpu"], "every trial needs a GPU, --gpus names 1: take --jobs 1"),
        (2, None, ["cpu", "gpu"], "give each a GPU of its own"),
    ],
)  # fmt: skip
def test_gpus_that_would_be_shared_or_idle_are_refused(jobs, gpus, devices, message):
    for read in (read_slots, as_asked):
        with pytest.raises(UsageError, match=message):
            read(jobs, gpus, [trial(device=device) for device in devices], [0, 1])


def test_a_dry_run_may_ask_for_more_processors_than_there_are():
    assert as_asked(4, None, [trial(threads=2)], [0]).jobs == 4


def test_a_plan_for_gpus_and_processors_may_have_more_jobs_than_gpus():
    slots = read_slots(2, "1", [trial(), trial(device="gpu")], [0, 1])
    assert (slots.jobs, slots.gpus) == (2, ("1",))
