"""``harness list backends``: groups, missing variants with the fix, and other functions."""

import json
from dataclasses import replace

import click
import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.cli.options.types import Named
from harness.cli.verbs import list as list_verb
from harness.contract import (
    BrokenAnswerError,
    Missing,
    UnknownNameError,
    UnsupportedError,
    UsageError,
)
from harness.plugins import load_plugins
from harness_numpy import NumpyBackend


class Peer(NumpyBackend):
    name = "peer"
    groups = ("peers",)

    def variants(self, cell):
        return ("plain", "other")

    def all_variants(self):
        return None

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


def test_a_suite_is_listed_with_what_it_asks_and_its_size(plugins):
    row = next(
        row for row in json.loads(listed("suites", "--format", "json")) if row["name"] == "ladder"
    )
    assert row["name"] == "ladder"
    assert row["asks"].endswith("?")
    assert row["trials"] > row["quick"] == 8 * 4 * 5  # rungs, cells, seeds


def test_groups_are_completed_like_backends(plugins):
    context = click.Context(click.Command("run"))
    items = Named("backends").shell_complete(context, None, "numpy,pe")
    assert [item.value for item in items] == ["numpy,peer", "numpy,peers"]
    assert [item.value for item in Named("cells").shell_complete(context, None, "pe")] == []


def test_the_derived_graph_of_a_cell_is_printed():
    for wanted in ("lstm", "lstm:graph"):
        text = listed("cells", "--source", wanted)
        assert text.startswith("# lstm: one time step\nhh = product of h\n")
        assert "# lstm: its gradient, from d_new_h" in text


@pytest.mark.parametrize("name", ["lstm", "gru_reset_before", "diagonal_signed"])
@pytest.mark.parametrize("language", ["c", "numpy", "numba", "torch", "jax"])
def test_every_engine_prints_its_code(name, language):
    if language in {"torch", "jax"}:
        pytest.importorskip(language)
    assert len(listed("cells", "--source", f"{name}:{language}").splitlines()) > 10


def test_the_code_of_an_engine_is_printed(plugins):
    assert "#include" in listed("cells", "--source", "lstm:c")
    plugins.backends["peer"].languages = ("verse",)
    plugins.backends["peer"].source = lambda cell, language: f"{language} of {cell.name}\n\n"
    assert listed("cells", "--source", "gru:verse") == "verse of gru\n"


@pytest.mark.parametrize(
    ("wanted", "error", "words"),
    [
        (
            "lstm:prose",
            UsageError,
            "no backend writes 'prose' for cell 'lstm': use one of graph",
        ),
        ("lsmt:c", UnknownNameError, "unknown cell 'lsmt'"),
        ("lstm:verse", UnsupportedError, "no verse has so many gates"),
        ("gru:verse", BrokenAnswerError, "'peer' is broken: source.. raised ValueError: no rhyme"),
    ],
)
def test_code_that_there_is_not_is_an_error(plugins, wanted, error, words):
    def source(cell, language):
        raise (
            UnsupportedError("no verse has so many gates")
            if cell.name == "lstm"
            else ValueError("no rhyme")
        )

    plugins.backends["peer"].languages, plugins.backends["peer"].source = ("verse",), source
    with pytest.raises(error, match=words):
        CliRunner().invoke(
            cli,
            ["list", "cells", "--source", wanted],
            standalone_mode=False,
            catch_exceptions=False,
        )
