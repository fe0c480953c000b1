"""``harness reproduce``: selection, verdicts, exit statuses and formats, with tiny plans."""

import json
from dataclasses import replace

import pytest

from harness.cli.main import NOT_OK, OK, REGRESSION
from harness.cli.work.reproduce import reproduce
from harness.contract import Published, UnknownNameError, UsageError
from harness.plugins import load_plugins
from harness_results.store.store import Store

NEAR = """
source = "A paper"
kind = "{kind}"
minutes = {minutes}
deviations = ["a tiny network"]
[plan.matrix]
task = "{task}"
cell = "rnn"
backend = "numpy:loop"
length = 3
seeds = 2
hidden = 4
batch = 2
steps = 4
[[figure]]
name = "loss"
statistic = "loss"
"""
BAND = "published = {published}\ndigit = 0.1\ndeviation = 0.1\ncalibrated = 10\n"
AGREES, FALSE = BAND.format(published=0.7), BAND.format(published=9.0)
INEQUALITY = 'says = "finite"\nmost = 1e6\n'
NONE = 'source = "B"\nkind = "not_expressible"\nreason = "it needs attention"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of entries and of one store; all entries have the same two trials."""
    return tmp_path_factory.mktemp("published")


@pytest.fixture
def run(folder, capsys):
    def near(figure, kind="near", minutes=1, task="copy"):
        return NEAR.format(kind=kind, minutes=minutes, task=task) + figure

    texts = {
        "agrees": near(INEQUALITY),
        "false": near(FALSE),
        "long": near(INEQUALITY, minutes=5),
        "inequality": near(INEQUALITY, "qualitative", 0.5),
        "absent": near(INEQUALITY, task="char").replace('"char"', '"nothing"'),
        "attention": NONE,
    }
    published = {}
    for name, text in texts.items():
        path = folder / f"{name}.toml"
        path.write_text(text)
        published[name] = Published(name, path)
    plugins = replace(load_plugins(), published=published)
    usual = {
        "names": (), "all_": False, "quick": False, "list_": False, "seeds": None, "jobs": None,
        "store": str(folder / "store.sqlite"), "format_": "json", "quiet": True,
    }  # fmt: skip

    def call(*names, **options):
        status = reproduce(plugins, {**usual, "names": names, **options})
        return status, capsys.readouterr().out

    call.store = usual["store"]
    return call


@pytest.mark.slow
def test_a_set_up_is_run_once_and_judged_with_its_exit_status(run):
    status, out = run("agrees", "attention")
    rows = json.loads(out)
    assert status == OK
    assert [row["entry_verdict"] for row in rows] == ["reproduced", "not expressible"]
    assert set(rows[0]["values"]) == {"0", "1"}
    status, out = run("agrees", "false")
    again = json.loads(out)
    assert status == REGRESSION
    assert [row["entry_verdict"] for row in again] == ["reproduced", "outside"]
    assert again[0] == rows[0]
    assert len(json.loads(run("agrees", seeds=1)[1])[0]["values"]) == 1
    with Store.open(run.store, create=False) as store:
        assert len(store.launches()) == 2  # nothing was measured again


def test_quick_takes_the_short_entries_and_few_seeds(run):
    status, out = run(quick=True)
    rows = {row["name"]: row for row in json.loads(out)}
    assert status == REGRESSION  # the false one
    assert "long" not in rows
    assert {name: len(row["values"] or ()) for name, row in rows.items()} == {
        "agrees": 1, "false": 1, "inequality": 2, "absent": 0, "attention": 0,
    }  # fmt: skip
    assert "nothing" in rows["absent"]["failures"][0]
    assert rows["absent"]["entry_verdict"] == "cannot tell"


def test_a_trial_that_fails_is_status_3_and_its_reason_is_shown(run, monkeypatch):
    import harness.cli.work.reproduce as work

    measured = work._measured

    def failing(*arguments):
        outcome = measured(*arguments)
        broken = [replace(each, status="timeout", reason="too slow") for each in outcome.records]
        return replace(outcome, records=broken)

    monkeypatch.setattr(work, "_measured", failing)
    status, out = run("agrees", format_="table")
    assert status == NOT_OK
    assert "cannot tell" in out
    assert "timeout: too slow" in out


@pytest.mark.parametrize("format_", ["table", "markdown", "latex"])
def test_every_format_has_figures_verdicts_and_deviations(run, format_):
    status, out = run("inequality", "attention", format_=format_)
    assert status == OK
    for words in ("reproduced", "not expressible", "finite", "a tiny network", "attention"):
        assert words in out
    status, out = run(list_=True, format_=format_)
    assert status == OK
    assert "qualitative" in out


def test_what_cannot_be_chosen_is_refused_with_the_fix(run):
    for options in ({}, {"names": ("agrees",), "all_": True}, {"quick": True, "all_": True}):
        with pytest.raises(UsageError, match="harness reproduce --list shows the names"):
            run(*options.pop("names", ()), **options)
    with pytest.raises(UnknownNameError, match=r"unknown published result 'agree'.*agrees"):
        run("agree")
    with pytest.raises(UsageError, match="nothing"):
        run("absent")
