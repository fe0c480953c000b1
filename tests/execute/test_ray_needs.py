import pytest

from harness.contract import Trial
from harness.execute.ray.needs import Needs, Wishes, needs_of

NODE = {
    "NodeManagerHostname": "first",
    "Resources": {"CPU": 4.0, "fast_disk": 1.0},
    "Labels": {"zone": "a"},
}


def trial(**changes):
    return Trial(
        **({"backend": "b", "variant": "v", "task": "t", "cell": "rnn", "length": 3} | changes)
    )


def test_a_launch_needs_a_processor_per_thread():
    assert needs_of(trial(threads=3), Wishes()) == Needs(cpus=3, gpus=0)


@pytest.mark.parametrize("device", ["gpu", "accelerator:0"])
def test_a_launch_on_an_accelerator_needs_one_of_its_own(device):
    assert needs_of(trial(device=device), Wishes()).gpus == 1


def test_what_ray_is_asked_for():
    needs = Needs(2, 1, {"fast_disk": 0.5}, {"zone": "a"})
    told = {
        "num_cpus": 2,
        "num_gpus": 1,
        "resources": {"fast_disk": 0.5},
        "label_selector": {"zone": "a"},
    }
    assert needs.task_options() == told
    assert "label_selector" not in Needs().task_options()  # which older versions do not know


@pytest.mark.parametrize(
    ("needs", "fits"),
    [
        (Needs(4), True),
        (Needs(5), False),
        (Needs(1, gpus=1), False),
        (Needs(1, resources={"fast_disk": 1}), True),
        (Needs(1, resources={"fast_disk": 2}), False),
        (Needs(1, labels={"zone": "a"}), True),
        (Needs(1, labels={"zone": "b"}), False),
        (Needs(1, labels={"row": "a"}), False),
    ],
)
def test_a_node_holds_what_it_has(needs, fits):
    assert needs.fits(NODE) is fits


def test_what_no_node_can_hold_is_told_with_what_there_is_and_the_fix():
    assert Needs(8, resources={"fast_disk": 1}, labels={"zone": "b"}).lacking([NODE]) == (
        "no node of the cluster can hold it: it needs 8 CPU, 1 fast_disk, zone=b; "
        "the nodes have: first 4 CPU, 1 fast_disk, zone=a; "
        "start a node that can, or ask for less (--threads, --device, --resources, --labels)"
    )
