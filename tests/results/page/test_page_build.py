"""The page as text, without a browser: what it needs, what it holds and how large it is."""

import subprocess
import sys
from dataclasses import replace
from itertools import islice, product

import pytest

from chart_records import ENGINES, make, sweep
from harness.contract import UnavailableError, UsageError
from harness_results.results import Results
from harness_results.store import rows
from harness_results.store.store import Store
from harness_results.study.reported import NOT_IN_REPORTS, reported

WEIGHED = """
import sys
from harness.cli.main import main
from harness.measure.timing.memory import high_water_bytes
try:
    main(sys.argv[1:])
finally:
    print(high_water_bytes())
"""
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
    assert len(figures(sweep()).drawn) == 15
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

    text = page(list(many(trials)), "many.sqlite", per_seed=True)
    assert f"{trials:,} trials, all ended well" in text
    assert len(text.encode()) < megabytes * 1_000_000


@pytest.mark.full
def test_the_page_of_ten_thousand_stored_trials_takes_little_memory(tmp_path):
    path = tmp_path / "many.sqlite"
    details = {"parity": {"errors": {f"weight_{n}": 1e-7 * n for n in range(30)}}}
    with Store.open(path) as store:
        run_id = store.begin_run("harness run")
        records = (replace(r, details={**r.details, **details}) for r in many(10_000))
        packed = map(rows.pack, records)
        store.database.run(
            lambda c: [rows.insert_record(c, record, run_id) for record in packed], write=True
        )
    page = tmp_path / "page.html"
    words = ["report", "-f", "html", "--output", str(page), str(path)]
    command = [sys.executable, "-c", WEIGHED, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "10,000 trials, all ended well" in page.read_text(encoding="utf-8")
    assert int(done.stdout) < 250_000_000


def test_no_report_shows_the_details_that_are_left_out_of_its_records(tmp_path):
    """As a record has them: ``harness show`` reads the store itself."""
    pytest.importorskip("vl_convert", reason="vl-convert is not installed")
    details = {
        "parity": {"error": 1e-7, "tolerance": 1e-5, "passed": True, "errors": {"loss": 1e-9}},
        "versions": {"numpy": "2.4.6"}, "placement": {"device": "cpu", "devices": 1},
        "block_tokens_per_second": {"min": 1.0, "max": 2.0}, "affinity": [0, 1],
        "limits": {"peak_flops_per_second": 1e9, "chain_seconds": 1e-5, "reason": None},
        "calibrations": {"peak/numpy": 0.1}, "distribution": "rnn-harness 0.2.0",
        "warm_up": {"blocks": 6, "flat": False}, "effective_threads": 2, "recompilations": 3,
    }  # fmt: skip
    assert set(details) == set(NOT_IN_REPORTS)
    with Store.open(tmp_path / "s.sqlite") as store:
        run_id = store.begin_run("harness run")
        for record in sweep():
            store.add(replace(record, details={**record.details, **details}), run_id)
        whole, less = (Results(reported(store, without=names)) for names in ((), NOT_IN_REPORTS))
    assert set(details) <= set(whole[0].details)
    assert not set(details) & set(less[0].details)
    for form in ("page", "to_markdown", "to_csv", "to_json"):
        assert getattr(less, form)() == getattr(whole, form)()


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
    build._content(sweep(), None, None, per_seed=False)
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
