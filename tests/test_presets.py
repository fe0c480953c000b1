"""Presets fill in what a user left open."""

import pytest

from harness.contract import UsageError
from harness.sweep.presets import preset
from harness.sweep.request import PlanRequest

GIVEN = {"fast": False, "rigorous": False, "launches": None, "sample_length": None}


def test_presets_fill_in_only_what_was_not_given():
    plan, options = preset(PlanRequest(), {**GIVEN, "fast": True})
    assert (plan.axes["evaluate_every"], options["launches"], options["sample_length"]) == ((0,), 1, 0)
    plan, options = preset(PlanRequest({"evaluate_every": (5,)}), {**GIVEN, "fast": True, "launches": 3})
    assert (plan.axes["evaluate_every"], options["launches"]) == ((5,), 3)
    assert preset(PlanRequest(), {**GIVEN, "rigorous": True})[1]["launches"] == 10
    assert preset(PlanRequest(), GIVEN)[1]["launches"] == 1
    assert preset(PlanRequest(launches=4), GIVEN)[1]["launches"] == 4
    with pytest.raises(UsageError, match="exclude each other"):
        preset(PlanRequest(), {**GIVEN, "fast": True, "rigorous": True})
