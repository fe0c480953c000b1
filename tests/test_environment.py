"""The environment record: what it holds, what its id depends on, and the threads that an engine really uses."""

import json
import sys

import pytest

from harness.contract import Available, Missing
from harness.measure import environment
from harness.measure.environment import effective_threads, environment_id, environment_record


class Backend:
    name = "abacus"

    def __init__(self, answer=Available(), threads=None):  # noqa: B008
        self.answer, self._threads = answer, threads

    def availability(self):
        return self.answer

    def versions(self):
        assert not isinstance(self.answer, Missing), "asked for versions of what is missing"
        return {"abacus": "1.0"}

    def environment(self, threads):
        return {"ABACUS_BEADS": str(threads)}

    def devices(self):
        return ("wood",)

    def threads(self):
        return self._threads


def test_a_record_is_json_and_names_the_backend_s_libraries_and_devices(monkeypatch):
    monkeypatch.setenv("ABACUS_BEADS", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("SECRET_TOKEN", "hidden")
    record = environment_record([Backend()])
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["libraries"]["abacus"] == "1.0"
    assert record["libraries"]["numpy"]
    assert record["devices"] == {"abacus": ["wood"]}
    assert record["variables"]["ABACUS_BEADS"] == "3"
    assert record["variables"]["OMP_NUM_THREADS"] == "2"
    assert "SECRET_TOKEN" not in record["variables"]
    assert record["plugins"]["rnn-harness"]


def test_a_backend_that_cannot_run_is_left_out():
    assert environment_record([Backend(Missing("gone", "buy one"))])["devices"] == {}


def test_the_id_is_stable_and_depends_on_the_machine_alone():
    record = environment_record()
    assert environment_id(record) == environment_id(environment_record([Backend()]))
    assert environment_id(record | {"cpu": {"model": "another"}}) != environment_id(record)
    assert environment_id(record | {"libraries": {}, "variables": {}, "commit": None}) == environment_id(record)


def test_a_processor_that_archspec_does_not_know_still_has_a_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "archspec", None)
    monkeypatch.setitem(sys.modules, "archspec.cpu", None)
    assert environment_record()["cpu"]["model"]


def test_the_commit_is_that_of_a_checkout_of_the_harness_only(tmp_path):
    assert environment._commit(tmp_path) is None
    (tmp_path / ".git").mkdir()  # somebody else's repository, and a broken one
    (tmp_path / "pyproject.toml").touch()
    assert environment._commit(tmp_path) is None


@pytest.mark.parametrize(("own_word", "expected"), [(7, 7), (None, 4)])
def test_effective_threads_are_the_engine_s_word_or_the_largest_pool(monkeypatch, own_word, expected):
    monkeypatch.setattr(environment, "threadpool_info", lambda: [{"num_threads": 1}, {"num_threads": 4}])
    assert effective_threads(Backend(threads=own_word)) == expected


def test_effective_threads_are_unknown_without_a_pool(monkeypatch):
    monkeypatch.setattr(environment, "threadpool_info", list)
    assert effective_threads(Backend()) is None
