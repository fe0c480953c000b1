"""The page as text, without a browser: what it needs, what it holds and how large it is."""

import sys
from dataclasses import replace
from itertools import islice, product

import pytest

from chart_records import ENGINES, make, sweep
from harness.contract import UnavailableError, UsageError
from harness_results.results import Results

FIX = r'pip install "rnn-harness\[report\]"'


@pytest.mark.parametrize("missing", ["jinja2", "altair", "vl_convert"])
@pytest.mark.slow
def test_a_library_that_is_not_installed_is_named_with_its_fix(monkeypatch, missing):
    for name in [
        name
        for name in sys.modules
        if name.startswith(("harness_results.page", "harness_results.charts"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    from harness_results.page.build import page

    with pytest.raises(
        UnavailableError, match=rf"needs? {missing}, which is not installed. Install it: {FIX}"
    ):
        page([make()], "s.sqlite")


def test_the_labels_are_computed_once_and_no_chart_is_checked_against_its_schema(monkeypatch):
    schemapi = pytest.importorskip("altair.utils.schemapi")
    from harness_results.page.figures import figures
    from harness_results.study import study

    figures(sweep())  # imports
    counted, networks = [], study.networks
    monkeypatch.setattr(
        schemapi.SchemaBase, "validate", lambda *_, **__: counted.append("a chart is checked")
    )
    monkeypatch.setattr(
        study, "networks", lambda *given: counted.append("labels") or networks(*given)
    )
    assert len(figures(sweep()).drawn) == 10
    assert counted == ["labels"] * 2  # once for each task
    assert schemapi.DEBUG_MODE


def test_the_title_is_that_of_the_reader_or_says_what_the_page_holds():
    pytest.importorskip("vl_convert", reason="vl-convert is not installed")
    results = Results([make(length=10), make(cell="rnn")])
    assert "<title>What fits &amp; why · harness report</title>" in results.page("What fits & why")
    assert "<h1>lstm and rnn on adding, T = 10 to 20</h1>" in results.page()
    with pytest.raises(UsageError, match="a page needs a record"):
        Results().page()


def many(count, **figures):
    """Yield one trial per setting, with curves of a usual length; then again with another seed."""
    axes = product(
        range(count), ("adding", "copy"), ("rnn", "lstm", "gru"), ENGINES, (10, 20, 40, 80)
    )
    for seed, task, cell, engine, length in islice(axes, count):
        yield make(engine, cell, length, task, steps=100, trial={"seed": seed}, **figures)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trials", "megabytes"), [(500, 3), pytest.param(10_000, 10, marks=pytest.mark.full)]
)
def test_a_page_of_many_trials_is_small(trials, megabytes):
    for library in ("jinja2", "altair", "vl_convert"):
        pytest.importorskip(
            library, reason=f"{library} is not installed: pip install 'rnn-harness[report]'"
        )
    from harness_results.page.build import page

    text = page(list(many(trials)), "many.sqlite")
    assert f"{trials:,} trials, all ended well" in text
    assert len(text.encode()) < megabytes * 1_000_000


def test_labels_and_contests_are_computed_once_for_tables_charts_and_headline(monkeypatch):
    pytest.importorskip("altair", reason="altair is not installed")
    from harness_results.page import build
    from harness_results.study import study
    from harness_results.study.verdicts import fastest

    counted, networks, corrected = [], study.networks, fastest.corrected
    monkeypatch.setattr(
        study, "networks", lambda *given: counted.append("labels") or networks(*given)
    )
    monkeypatch.setattr(
        fastest, "corrected", lambda effects: counted.append("contests") or corrected(effects)
    )
    build._content(sweep(), None)
    assert sorted(counted) == ["contests", *["labels"] * 2]  # of two tasks


def test_a_chart_reads_only_the_curves_that_it_draws(monkeypatch):
    pytest.importorskip("altair", reason="altair is not installed")
    from harness_results.charts import all_charts
    from harness_results.charts.series import labelled

    class Counted(dict):
        def get(self, name, default=None):
            read.append(name)
            return super().get(name, default)

    records = [
        replace(record, curves=Counted(record.curves))
        for record in islice(many(400, gradient_norm_median=1.0), 400)
    ]
    for chart in ("loss-curves", "gradient-norm", "gradient-flow"):
        read = []
        rows = all_charts()[chart].rows(labelled(records))
        assert len(set(read)) <= 2
        assert "of 400 curves" in rows.note or "of 800 curves" in rows.note
        assert len(read) < 400
