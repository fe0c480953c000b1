"""The environment record, its id, and the threads that an engine really uses."""

import json
import sys

import pytest

from harness.cli.verbs.env import _answering
from harness.contract import Available, Missing
from harness.measure.machine import environment
from harness.measure.machine.environment import (
    effective_threads,
    environment_id,
    environment_record,
)
from harness_numpy import NumpyBackend


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


@pytest.mark.parametrize("question", ["availability", "versions", "devices", "environment"])
def test_harness_env_tells_a_backend_that_answers_wrongly_and_leaves_it_out(question, capsys):
    backend, broken = NumpyBackend(), NumpyBackend()
    setattr(broken, question, lambda *_: {1: 1})
    assert list(_answering([broken, backend])) == [backend]
    assert capsys.readouterr().err.startswith(
        f"left out: backend 'numpy' is broken: {question}() returned"
    )


def test_a_backend_that_cannot_run_is_left_out():
    assert environment_record([Backend(Missing("gone", "buy one"))])["devices"] == {}


def test_the_id_is_stable_and_depends_on_the_machine_alone():
    record = environment_record()
    assert environment_id(record) == environment_id(environment_record([Backend()]))
    assert environment_id(record | {"cpu": {"model": "another"}}) != environment_id(record)
    assert environment_id(
        record | {"libraries": {}, "variables": {}, "commit": None}
    ) == environment_id(record)


def gpus(*names, driver="1.0"):
    return {
        "gpus": [
            {"name": name, "driver_version": driver, "memory.total": "80 GiB"} for name in names
        ]
    }


def test_the_id_depends_on_the_cards_where_there_are_any_and_on_nothing_else_of_them():
    bare = environment_record() | {"gpus": []}
    one, two = bare | gpus("Card One"), bare | gpus("Card Two")
    assert (
        len(
            {
                environment_id(record)
                for record in (bare, one, two, bare | gpus("Card One", "Card One"))
            }
        )
        == 4
    )
    assert environment_id(one) == environment_id(bare | gpus("Card One", driver="2.0"))
    assert environment_id(bare | gpus("Card One", "Card Two")) == environment_id(
        bare | gpus("Card Two", "Card One")
    )
    older = {name: value for name, value in bare.items() if name != "gpus"}
    assert environment_id(older) == environment_id(bare)


def test_the_id_of_a_machine_without_cards_is_the_one_that_it_always_had():
    facts = {
        "cpu": {"model": "one"},
        "cores": {"physical": 2},
        "memory_gibibytes": 8,
        "system": {},
        "python": {},
    }
    assert environment_id(facts | {"gpus": []}) == "6b6bf169b664"


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
def test_effective_threads_are_the_engine_s_word_or_the_largest_pool(
    monkeypatch, own_word, expected
):
    monkeypatch.setattr(
        environment, "threadpool_info", lambda: [{"num_threads": 1}, {"num_threads": 4}]
    )
    assert effective_threads(Backend(threads=own_word)) == expected


def test_effective_threads_are_unknown_without_a_pool(monkeypatch):
    monkeypatch.setattr(environment, "threadpool_info", list)
    assert effective_threads(Backend()) is None
