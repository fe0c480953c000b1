"""A failed launch is tried again at once; the earlier tries are kept and shown."""

import pytest
from rich.console import Console

from harness.contract import Record, Trial
from harness.execute.retries import RETRIED, tried
from harness.execute.stop import StopRequest
from harness_results.render.show import show_record

TRIAL = Trial(backend="numpy", variant="loop", task="copy", cell="lstm", length=3)


@pytest.fixture
def stop():
    with StopRequest() as request:
        yield request


def launches(*statuses):
    left = list(statuses)
    return lambda: Record(
        TRIAL, status := left.pop(0), None if status == "ok" else f"because {status}"
    )


@pytest.mark.parametrize("status", RETRIED)
def test_a_launch_that_ended_badly_is_tried_until_it_ends_well(stop, status):
    record = tried(launches(status, status, "ok", "ok"), 5, stop)
    assert record.status == "ok"
    assert record.details["attempts"] == [{"status": status, "reason": f"because {status}"}] * 2


def test_the_last_try_is_the_record_when_none_ended_well(stop):
    record = tried(launches("crashed", "timeout", "failed"), 2, stop)
    assert (record.status, [one["status"] for one in record.details["attempts"]]) == (
        "failed",
        ["crashed", "timeout"],
    )


@pytest.mark.parametrize("status", ["ok", "diverged", "unsupported", "parity_failed"])
def test_what_the_trial_itself_gives_is_not_tried_again(stop, status):
    record = tried(launches(status, "ok"), 5, stop)
    assert (record.status, "attempts" in record.details) == (status, False)
    assert record.details["wall_seconds"] >= 0


def test_nothing_is_tried_again_unless_asked_for_or_after_a_request_to_stop(stop):
    assert tried(launches("crashed", "ok"), 0, stop).status == "crashed"
    stop.request()
    assert tried(launches("interrupted", "ok"), 5, stop).status == "interrupted"


def test_the_tries_are_shown(stop):
    console = Console(width=100, color_system=None)
    with console.capture() as shown:
        console.print(show_record(tried(launches("crashed", "out_of_memory", "ok"), 2, stop)))
    assert "try 3, after" in shown.get()
    assert "out of memory: because out_of_memory" in shown.get()
