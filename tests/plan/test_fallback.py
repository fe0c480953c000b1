"""A note names each backend that runs on the CPU although an accelerator's driver exists."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.contract import Missing, accelerators
from harness.plan.expand import expand, expand_with_notes
from harness.plan.fallback import device_notes
from harness.plan.request import PlanRequest
from harness.plugins import load_plugins
from harness_numpy import NumpyBackend


class Looking(NumpyBackend):
    name = "looking"
    found: tuple[str, ...] = ("cpu",)

    def devices(self):
        return self.found


def notes(looking, **axes):
    plugins = load_plugins(block=("torch", "jax"))
    backends = {**plugins.backends, "looking": looking}
    request = PlanRequest({"backend": ["numpy"], "task": ["copy"], "length": [5], **axes})
    trials = expand(request, plugins)
    return device_notes(
        request,
        [one.model_copy(update={"backend": "looking"}) for one in trials] + trials,
        backends,
    )


class Losing(NumpyBackend):
    """``quick`` turns out to be missing when it would be taken."""

    name = "losing"
    why = Missing("it cannot be built", "mend it")

    def __init__(self, *, lost):
        self.lost = lost

    def variants(self, cell):
        return ("loop",) if self.lost else ("loop", "quick")

    def missing_variants(self):
        return {"quick": self.why} if self.lost else {}

    def default_variant(self, cell, trial):
        self.lost = True
        return "loop"


class Lacking(Losing):
    name = "lacking"


def test_a_variant_that_was_never_on_offer_is_not_noted_as_lost():
    plugins = load_plugins(block=("torch", "jax"))
    backends = plugins.backends | {"losing": Losing(lost=False), "lacking": Lacking(lost=True)}
    axes = {"backend": ["losing", "lacking"], "task": ["copy"], "cell": ["lstm"], "length": [5]}
    request = PlanRequest(axes)
    trials, found = expand_with_notes(request, replace(plugins, backends=backends))
    assert [trial.engine for trial in trials] == ["losing:loop", "lacking:loop"]
    problem = "quick is not available to losing"
    another = "trials that would have taken it run as another variant"
    assert found == [f"{problem}, so {another}: it cannot be built. Fix: mend it"]


@pytest.fixture
def _driver(monkeypatch):
    monkeypatch.setattr(accelerators, "DEVICE_FILES", (Path(__file__),))


@pytest.mark.usefixtures("_driver")
def test_a_backend_that_finds_no_accelerator_beside_its_driver_is_named_with_the_fix():
    (note,) = notes(Looking())  # numpy never looks for one
    assert note.startswith("looking runs on the CPU: it finds no accelerator, although there is /")
    assert note.endswith("or give --device cpu")
    assert notes(Looking(), device=["cpu", "auto"])


@pytest.mark.usefixtures("_driver")
def test_nothing_is_noted_where_the_cpu_was_asked_for_or_an_accelerator_is_found():
    assert notes(Looking(), device=["cpu"]) == []
    found = Looking()
    found.found = ("gpu", "cpu")
    assert notes(found) == []


def test_nothing_is_noted_without_a_driver(monkeypatch):
    monkeypatch.setattr(accelerators, "DEVICE_FILES", (Path("/nowhere/to/be/found"),))
    assert notes(Looking()) == []
