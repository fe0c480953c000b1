"""A backend that is left on the CPU although the machine has an accelerator's driver is told of."""

from pathlib import Path

import pytest

from harness.contract import accelerators
from harness.plugins import load_plugins
from harness.sweep.fallback import device_notes
from harness.sweep.plan import expand
from harness.sweep.request import PlanRequest
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
    return device_notes(request, [one.model_copy(update={"backend": "looking"}) for one in trials] + trials, backends)


@pytest.fixture
def _driver(monkeypatch):
    monkeypatch.setattr(accelerators, "DEVICE_FILES", (Path(__file__),))


@pytest.mark.usefixtures("_driver")
def test_a_backend_that_finds_no_accelerator_beside_its_driver_is_named_with_the_cure():
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
