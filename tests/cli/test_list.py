"""``harness list backends``: groups, missing variants with the fix, and other functions."""

import json
from dataclasses import replace

import click
import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.cli.options.types import Named
from harness.cli.verbs import list as list_verb
from harness.contract import Missing
from harness.plugins import load_plugins
from harness_numpy import NumpyBackend


class Peer(NumpyBackend):
    name = "peer"
    groups = ("peers",)

    def variants(self, cell):
        return ("plain", "other")

    def missing_variants(self):
        return {"native": Missing("no compiler was found", "pip install compiler")}

    def deviation(self, cell, variant):
        return (
            "resets after the product"
            if variant == "other" and cell.name in {"gru", "lstm"}
            else None
        )


@pytest.fixture
def plugins(monkeypatch):
    loaded = load_plugins(("torch", "jax"))
    loaded = replace(loaded, backends={"numpy": loaded.backends["numpy"], "peer": Peer()})
    monkeypatch.setattr(list_verb, "load_plugins", lambda blocked: loaded)
    monkeypatch.setattr("harness.plugins.load_plugins", lambda block=(): loaded)
    return loaded


def listed(*arguments):
    result = CliRunner().invoke(
        cli, ["list", *arguments], standalone_mode=False, env={"COLUMNS": "160"}
    )
    assert result.exception is None, result.exception
    return result.stdout


def test_the_table_shows_groups_and_below_it_what_is_missing_and_what_deviates(plugins):
    text = listed("backends")
    assert "groups" in text
    assert "peers" in text
    assert "peer:native is missing: no compiler was found. Fix: pip install compiler" in text
    assert "peer runs another function (lstm other, gru other): resets after the product" in text


def test_without_any_group_there_is_no_such_column(plugins):
    del plugins.backends["peer"]
    assert "groups" not in listed("backends")


def test_json_has_all_of_it(plugins):
    row = json.loads(listed("backends", "--format", "json"))[-1]
    assert row["groups"] == ["peers"]
    assert row["missing_variants"] == {"native": "no compiler was found. Fix: pip install compiler"}
    assert row["deviations"] == dict.fromkeys(
        ("lstm other", "gru other"), "resets after the product"
    )


def test_where_the_library_is_missing_that_is_the_status_whatever_else_fails(plugins):
    def needs_it(cell):
        raise ModuleNotFoundError("No module named 'libpeer'")

    plugins.backends["peer"].variants = needs_it
    row = json.loads(listed("backends", "--format", "json"))[-1]
    assert row["status"].startswith("broken: variants() raised ModuleNotFoundError")
    plugins.backends["peer"].availability = lambda: Missing(
        "libpeer is not installed", "pip install libpeer"
    )
    row = json.loads(listed("backends", "--format", "json"))[-1]
    assert row["status"] == "missing: libpeer is not installed. Fix: pip install libpeer"


def test_groups_are_completed_like_backends(plugins):
    context = click.Context(click.Command("run"))
    items = Named("backends").shell_complete(context, None, "numpy,pe")
    assert [item.value for item in items] == ["numpy,peer", "numpy,peers"]
    assert [item.value for item in Named("cells").shell_complete(context, None, "pe")] == []
