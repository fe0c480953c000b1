"""Which worker must end when memory is scarce, and what the system says is left."""

import os
import subprocess
import sys

import psutil
import pytest

from harness.execute import memory_watch
from harness.execute.memory_watch import (
    Available,
    MemoryWatch,
    descendants,
    proportional_bytes,
    resident_bytes,
)
from harness.plan.kinds import Memory

GROUP_2 = {
    "proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    5000 kB\n",
    "proc/self/cgroup": "0::/pod/one\n",
    "sys/fs/cgroup/pod/one/memory.max": "max\n",
    "sys/fs/cgroup/pod/memory.max": "4096000\n",
    "sys/fs/cgroup/pod/memory.current": "3072000\n",
    "sys/fs/cgroup/pod/memory.stat": "anon 5\ninactive_file 1024\n",
}
GROUP_1 = {
    "proc/meminfo": "MemAvailable:    5000 kB\n",
    "proc/self/cgroup": "4:memory:/pod\n0::/\n",
    "sys/fs/cgroup/memory/pod/memory.limit_in_bytes": "4096000\n",
    "sys/fs/cgroup/memory/pod/memory.usage_in_bytes": "3072000\n",
    "sys/fs/cgroup/memory/pod/memory.stat": "inactive_file 7\ntotal_inactive_file 2048\n",
}


def system(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "left"),
    [
        (GROUP_2, 1024000 + 1024),
        (GROUP_1, 1024000 + 2048),
        ({"proc/meminfo": GROUP_1["proc/meminfo"]}, 5000 * 1024),
    ],
)
def test_what_is_left_is_bounded_by_the_group_that_this_process_is_in(tmp_path, files, left):
    assert Available(system(tmp_path, files))() == left


def test_where_nothing_is_told_the_system_is_asked_otherwise(tmp_path):
    assert 0 < Available(tmp_path)() <= psutil.virtual_memory().total


def watch(held, **options):
    """Return a watch of workers that hold these bytes, by pid."""
    found = MemoryWatch(reserve_bytes=100, **options)
    found._held.update(held)
    return found


@pytest.mark.parametrize(
    ("held", "too_much"),
    [({1: 500, 2: 300}, True), ({1: 300, 2: 500}, False), ({1: 90}, False), ({1: 101}, True)],
)
def test_of_several_workers_the_largest_ends_first_and_none_that_would_free_too_little(
    held, too_much
):
    assert (watch(held)._why_too_much(1, held[1], 50) is not None) == too_much


def test_a_worker_that_has_ended_holds_nothing():
    found = watch({1: 300, 2: 500})
    found.forget(2)
    assert found._why_too_much(1, 300, 50) is not None


def test_memory_enough_is_no_reason():
    roomy = MemoryWatch(reserve_bytes=100)
    assert roomy._why_too_much(1, 10**12, 100) is None


def test_a_limit_counts_whatever_the_machine_has_left():
    limited = MemoryWatch(10**6)
    assert limited._why_too_much(1, 10**6, 10**12) is None
    assert "more than the limit of 1 MB:" in limited._why_too_much(1, 10**6 + 1, 10**12)


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (3 * 10**8, "300 MB"),
        (2 * 10**9, "2 GB"),
        (400 * 2**20, "400 MiB"),
        (2**31, "2 GiB"),
        (2**31 + 1, "2048 MiB"),
    ],
)
def test_a_limit_is_told_in_the_unit_in_which_it_was_written(limit, told):
    assert f"more than the limit of {told}:" in MemoryWatch(limit)._why_too_much(
        1, limit + 1, 10**12
    )


CHILD = """
import subprocess
subprocess.Popen(['sleep', '1000'])
kept = b'x' * 50_000_000
print(flush=True)
input()
"""


@pytest.fixture
def parent():
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        yield process
        for pid in descendants(process.pid):
            psutil.Process(pid).kill()
        process.communicate(b"\n")


def test_all_that_is_below_a_process_counts_and_not_the_process_itself(parent, monkeypatch):
    below = descendants(parent.pid)
    assert [psutil.Process(pid).name() for pid in below] == ["sleep"]
    assert set(below) < set(descendants(os.getpid()))
    look = MemoryWatch().look(parent.pid)
    assert 0 < look.held_bytes == resident_bytes(below[0])
    assert look.too_much is None
    monkeypatch.setattr(memory_watch.sys, "platform", "another")
    assert descendants(parent.pid) == below


def test_shared_pages_count_in_proportion(parent):
    assert 50_000_000 < proportional_bytes(parent.pid) <= resident_bytes(parent.pid)


def test_a_process_that_has_ended_holds_nothing_and_has_nobody_below():
    process = subprocess.Popen(["true"])
    process.wait()
    assert (resident_bytes(process.pid), descendants(process.pid)) == (0, [])


@pytest.mark.parametrize(
    ("text", "count"), [("2GB", 2 * 10**9), ("1.5GiB", 3 * 2**29), ("500 mb", 5 * 10**8)]
)
def test_sizes_are_read_with_their_units(text, count):
    assert Memory().read(text) == count


@pytest.mark.parametrize(
    ("limit", "left", "seconds"),
    [
        (None, 2**40, 2.0),
        (None, 2**33 + 100, 1.0),
        (None, 0, 0.2),
        (2**32, 2**40, 0.5),
        (1, 2**40, 0.2),
    ],
)
def test_the_nearer_the_limit_the_sooner_the_next_look(limit, left, seconds):
    found = MemoryWatch(limit, reserve_bytes=100, available_bytes=lambda: left)
    # No process has that number: nothing is held.
    assert found.look(2**22).next_seconds == pytest.approx(seconds)
