"""Presets fill in what a user left open."""

import pytest

from harness.contract import UsageError
from harness.plan.options import OPTIONS, RunOptions
from harness.plan.presets import settle
from harness.plan.request import PlanRequest

NOT_CHOSEN = dict.fromkeys(OPTIONS)
IDLE = [{"rigorous": True, "launches": 3}, {"order_seed": 5}, {"fast": True, "order_seed": 0}]


def test_presets_fill_in_only_what_was_not_given():
    plan, options = settle(PlanRequest(), {"fast": True})
    assert plan.axes["evaluate_every"] == (0,)
    assert (options.launches, options.sample_length) == (1, 0)
    plan, options = settle(PlanRequest({"evaluate_every": (5,)}), {"fast": True, "launches": 3})
    assert (plan.axes["evaluate_every"], options.launches) == ((5,), 3)
    assert settle(PlanRequest(), {"rigorous": True})[1].launches == 10
    assert settle(PlanRequest(), NOT_CHOSEN)[1].launches == 1
    in_plan = PlanRequest(options={"launches": 4})
    assert settle(in_plan, NOT_CHOSEN)[1].launches == 4
    assert settle(in_plan, {"fast": True})[1].launches == 1
    assert settle(in_plan, {"fast": True, "launches": 2})[1].launches == 2
    with pytest.raises(UsageError, match="exclude each other"):
        settle(PlanRequest(), {"fast": True, "rigorous": True})


def test_samples_over_training_need_a_length():
    in_plan = PlanRequest(options={"sample_every": 20})
    assert settle(in_plan, NOT_CHOSEN)[1].sample_every == 20
    assert settle(in_plan, {"fast": True})[1].sample_every is None
    for chosen in ({"fast": True, "sample_every": 20}, {"sample_length": 0, "sample_every": 20}):
        with pytest.raises(UsageError, match="--sample-every would have no effect"):
            settle(PlanRequest(), chosen)


@pytest.mark.parametrize("idle", IDLE)
def test_options_of_replication_that_would_have_no_effect_are_refused(idle):
    with pytest.raises(UsageError, match="would have no effect"):
        settle(PlanRequest(), idle)
    assert settle(PlanRequest(), {"launches": 2, "order_seed": 5})[1].order_seed == 5
    assert settle(PlanRequest(), NOT_CHOSEN)[1].order_seed == 0


def test_what_was_not_chosen_has_the_declared_default():
    assert settle(PlanRequest(), NOT_CHOSEN)[1] == RunOptions()
