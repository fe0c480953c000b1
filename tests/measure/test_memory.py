import platform
import subprocess
import sys

import numpy as np
import pytest

from harness.measure.timing.memory import (
    PeakMemory,
    high_water_bytes,
    out_of_memory_kills,
    release_unused,
    resident_bytes,
)

MIB = 2**20


MEASURE = f"""
import numpy as np
from harness.measure.timing.memory import PeakMemory

memory = PeakMemory()
memory.set_baseline()
np.ones({100 * MIB}, dtype=np.uint8)  # before: does not count
memory.start()
np.ones({30 * MIB}, dtype=np.uint8)
memory.pause()
np.ones({100 * MIB}, dtype=np.uint8)  # after: does not count either
print(memory.peak_bytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak")
def test_the_peak_is_what_was_held_between_start_and_pause_above_the_baseline():
    # A process of its own: here, threads of earlier tests may give back memory meanwhile.
    peak = int(subprocess.check_output([sys.executable, "-c", MEASURE]))
    assert 25 * MIB < peak < 60 * MIB


def test_memory_that_the_trial_has_allocated_already_is_not_taken_off():
    bare, reserved = PeakMemory(), PeakMemory()
    for memory, allocated in ((bare, 0), (reserved, 10 * MIB)):
        memory.set_baseline(allocated)
        memory.start()
        memory.pause()
    assert reserved.peak_bytes() - bare.peak_bytes() > 5 * MIB


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another C library has its own way with free memory"
)
def test_what_was_freed_before_training_is_given_back_and_does_not_count():
    blocks = [
        np.ones(100_000, dtype=np.uint8) for _ in range(600)
    ]  # each too small for a mapping of its own
    pin = blocks.pop()  # keeps the heap from shrinking by itself
    del blocks
    held = resident_bytes()
    release_unused()
    assert held - resident_bytes() > 30 * MIB
    assert pin.all()


def test_a_peak_that_was_never_looked_at_is_unknown():
    assert PeakMemory().peak_bytes() is None


def test_the_high_water_mark_is_not_below_what_is_held():
    assert high_water_bytes() > 0.5 * resident_bytes()


@pytest.mark.parametrize(
    ("cgroup", "file", "content"),
    [
        ("0::/a/b\n", "sys/fs/cgroup/a/b/memory.events", "low 0\noom 9\noom_kill 3\n"),
        (
            "4:cpu,memory:/a\n",
            "sys/fs/cgroup/memory/a/memory.oom_control",
            "under_oom 0\noom_kill 3\n",
        ),
    ],
)
def test_kills_of_the_machine_and_of_the_control_group_are_counted(tmp_path, cgroup, file, content):
    for path, text in (
        ("proc/vmstat", "pgfault 5\noom_kill 2\n"),
        ("proc/self/cgroup", cgroup),
        (file, content),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert out_of_memory_kills(tmp_path) == 5


def test_a_kernel_that_does_not_tell_counts_nothing(tmp_path):
    assert out_of_memory_kills(tmp_path) == 0


def test_a_peak_from_before_that_cannot_be_reset_is_no_peak_of_the_trial(monkeypatch):
    marks = iter([500, 500, 500, 800])
    monkeypatch.setattr("harness.measure.timing.memory.reset_high_water", lambda: False)
    monkeypatch.setattr("harness.measure.timing.memory.high_water_bytes", lambda: next(marks))
    monkeypatch.setattr("harness.measure.timing.memory.resident_bytes", lambda: 100)
    memory = PeakMemory()
    memory.set_baseline()
    memory.start()
    memory.pause()
    assert memory.peak_bytes() is None
    memory.start()
    memory.pause()
    assert memory.peak_bytes() == 700
