"""Presets fill in what a user left open."""

import pytest

from harness.contract import UsageError
from harness.plan.presets import preset
from harness.plan.request import PlanRequest

GIVEN = {
    "fast": False,
    "rigorous": False,
    "launches": None,
    "sample_length": None,
    "order_seed": None,
}
IDLE = [{"rigorous": True, "launches": 3}, {"order_seed": 5}, {"fast": True, "order_seed": 0}]


def test_presets_fill_in_only_what_was_not_given():
    plan, options = preset(PlanRequest(), {**GIVEN, "fast": True})
    assert (plan.axes["evaluate_every"], options["launches"], options["sample_length"]) == (
        (0,),
        1,
        0,
    )
    plan, options = preset(
        PlanRequest({"evaluate_every": (5,)}), {**GIVEN, "fast": True, "launches": 3}
    )
    assert (plan.axes["evaluate_every"], options["launches"]) == ((5,), 3)
    assert preset(PlanRequest(), {**GIVEN, "rigorous": True})[1]["launches"] == 10
    assert preset(PlanRequest(), GIVEN)[1]["launches"] == 1
    assert preset(PlanRequest(launches=4), GIVEN)[1]["launches"] == 4
    assert preset(PlanRequest(launches=4), {**GIVEN, "fast": True})[1]["launches"] == 1
    assert (
        preset(PlanRequest(launches=4), {**GIVEN, "fast": True, "launches": 2})[1]["launches"] == 2
    )
    with pytest.raises(UsageError, match="exclude each other"):
        preset(PlanRequest(), {**GIVEN, "fast": True, "rigorous": True})


@pytest.mark.parametrize("idle", IDLE)
def test_options_of_replication_that_would_have_no_effect_are_refused(idle):
    with pytest.raises(UsageError, match="would have no effect"):
        preset(PlanRequest(), {**GIVEN, **idle})
    assert preset(PlanRequest(), {**GIVEN, "launches": 2, "order_seed": 5})[1]["order_seed"] == 5
    assert preset(PlanRequest(), GIVEN)[1]["order_seed"] == 0
