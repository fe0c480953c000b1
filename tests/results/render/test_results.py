"""Results in Python, one record in full, and the published numbers."""

import io
import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from harness.contract import (
    COLUMNS,
    Record,
    StoreError,
    Trial,
    UnavailableError,
    UnknownNameError,
    UsageError,
)
from harness.contract.records.columns import FIGURE_NAMES
from harness_results.render.show import show_record
from harness_results.render.terminal import plain_table
from harness_results.results import Results
from harness_results.store.store import Store
from harness_results.study.samples import worth_showing
from harness_results.text.lines import plain_text


def make(backend="numpy", length=20, status="ok", **fields) -> Record:
    trial = Trial(backend=backend, variant="loop", task="copy", cell="lstm", length=length)
    figures = {"loss_validation": 0.25, "loss_baseline": 0.5, "loss_ratio": 0.5, "solved": False}
    return Record(trial, status, figures=figures if status == "ok" else {}, **fields)


@pytest.fixture
def results() -> Results:
    return Results([make(), make("torch"), make("torch", 50, "failed", reason="</script>")])


def test_results_are_a_sequence_of_records(results):
    assert len(results) == 3
    assert results[0] == make()
    assert list(results[1:]) == list(results.records[1:])
    assert isinstance(results[1:], Results)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({}, 3),
        ({"backend": "torch"}, 2),
        ({"backend": "torch", "length": 50}, 1),
        ({"length": [20, 30]}, 2),
        ({"cell": "x"}, 0),
    ],
)
def test_a_filter_keeps_the_records_with_these_values(results, wanted, count):
    assert len(results.filter(**wanted)) == count


def test_a_filter_on_an_unknown_column_names_the_nearest(results):
    with pytest.raises(UnknownNameError, match="Did you mean backend"):
        results.filter(backends="torch")


def test_rows_and_exports_have_the_columns(results):
    assert [list(row) for row in results.rows()] == [list(COLUMNS)] * 3
    rows = json.loads(results.to_json())
    assert [{name: row[name] for name in COLUMNS} for row in rows] == results.rows()
    assert results.to_csv().startswith(",".join(COLUMNS))


def test_a_data_frame_has_numbers_where_there_are_numbers(results):
    pytest.importorskip("pandas", reason="needs pandas")
    frame = results.to_pandas()
    assert list(frame.columns) == list(COLUMNS)
    assert frame["loss_ratio"].dtype == "float64"
    assert frame["length"].dtype == "int64"
    assert frame["loss_validation"].mean() == 0.25
    assert Results().to_pandas().shape == (0, len(COLUMNS))


def test_without_pandas_a_data_frame_is_an_error_with_the_fix(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UnavailableError, match=r'pip install "rnn-harness\[report\]"'):
        results.to_pandas()


def test_results_show_themselves_as_tables(results):
    assert "numpy:loop" in repr(results)
    assert "numpy:loop" in results.to_markdown()
    assert "<table>" in results._repr_html_()
    assert "</script>" not in results._repr_html_()
    assert repr(Results()) == "Results()"
    assert Results()._repr_html_() == "<p>no records</p>"


def test_the_tables_alone_show_themselves_as_the_results_do(results):
    assert repr(results.table()) + "\n" == repr(results)
    assert results.table()._repr_html_() == results._repr_html_()
    assert repr(Results().table()) == "no records"
    assert results.table().report.tables[0].task == "copy"


def test_results_come_from_a_store_whole_or_by_run(results, tmp_path):
    path = tmp_path / "store.db"
    with Store.open(path) as store:
        runs = [store.begin_run("x") for _ in range(2)]
        for run, record in zip(runs, results, strict=False):
            store.add(record, run)
    assert list(Results.from_store(path)) == list(results[:2])
    assert list(Results.from_store(path, runs[1])) == [results[1]]
    assert list(Results.from_store(path, "last~1")) == [results[0]]
    for absent in (3, -1, 1.0, "first"):
        with pytest.raises(UsageError, match=f"no run {absent}; its runs: 1, 2"):
            Results.from_store(path, absent)
    with pytest.raises(StoreError, match="no store"):
        Results.from_store(tmp_path / "absent.db")


def test_results_of_a_store_hold_a_trial_once_for_each_environment(results, tmp_path):
    path = tmp_path / "store.db"
    with Store.open(path) as store:
        for identity in ("e1", "e2"):
            store.add(replace(results[0], environment_id=identity), store.begin_run("x"))
    assert [record.environment_id for record in Results.from_store(path)] == ["e1", "e2"]


def test_the_best_network_of_each_text_shows_a_sample():
    def sampled(loss, samples, **options):
        trial = make(length=int(100 * loss)).trial.model_copy(
            update={"task": "char", "task_options": options}
        )
        return Record(trial, "ok", figures={"loss_validation": loss}, details={"samples": samples})

    written = [{"temperature": 0.5, "text": "so"}]
    records = [
        sampled(0.5, written),
        sampled(0.25, written),
        sampled(0.75, written, corpus="other"),
        sampled(0.1, "text"),
        sampled(0.1, [3]),
    ]
    assert worth_showing(records) == records[1:3]


def test_nothing_but_a_data_frame_imports_pandas():
    modules = """
        study.findings render.flat text.grid study.launches study.tables.limits text.lines
        render.markup study.networks study.tables.notes study.tables.pivot results store.rows
        study.scaling study.tables.scaling_table store.database.schema study.tables.sections
        render.show store.store render.terminal text.format
    """
    code = (
        "import sys, importlib\n"
        f"for name in {modules.split()}: importlib.import_module('harness_results.' + name)\n"
        "assert not {'pandas', 'scipy', 'torch', 'jax'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def full_record() -> Record:
    evaluation = {"loss_validation": 2.0, "loss_train_eval": 1.5, "accuracy": None}
    return make(
        curves={
            "loss": [4.0, 3.0, None, 1.0],
            "gradient_norm": [1.0, 10.0, 100.0],
            "evaluations": [evaluation | {"step": step} for step in range(40)],
            "gradient_flow": {
                "initial": {"median": [1.0, 0.1, 0.01]},
                "final": {"median": [1.0, None, 0.5]},
            },
        },
        details={
            "overfitting_gap": 0.1,
            "best_step": 5,
            "samples": [{"temperature": 0.5, "text": "def x:\n\tpass [bold]"}],
            "flags": ["hurried [/x]"],
            "task": {"corpus": "stdlib"},
            "log_tail": "Traceback\n  \x1b[31mBoom</script>",
        },
        environment={"cpu": {"model": "fast"}},
        environment_id="e1",
        started_at="2026-01-01",
        harness_version="0.1.0",
    )


def printed(record: Record, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=file, width=100, force_terminal=True, color_system=None).print(show_record(record))
    file.flush()
    return "\n".join(line.rstrip() for line in file.buffer.getvalue().decode(encoding).splitlines())


def test_a_record_is_shown_in_full(snapshot):
    assert printed(full_record()) == snapshot


def test_a_record_leads_with_two_drawings_and_ten_figures():
    record = full_record()
    figures = dict.fromkeys(FIGURE_NAMES, 0.25)
    samples = [{"step": step, "text": f"text of {step}"} for step in (1, 40)]
    record = replace(
        record, figures=figures, details=record.details | {"samples_over_training": samples}
    )
    text = plain_text(show_record(record, whole=False), 80)
    heads = ["trial ", "loss on", "gradient flow, trained", "figures", "text while", "flag:"]
    assert sorted(heads, key=text.index) == heads
    section = text.partition("\nfigures\n")[2].partition("\n\n")[0]
    assert len(section.splitlines()) == 10
    assert "  step 40     text of 40\n" in text
    assert "Boom" in text  # the log of a failure
    assert "--all: settings" in text
    assert not any(word in text for word in ("asked", "untrained", "\nenvironment", "corpus"))


def test_a_record_that_failed_early_shows_its_reason_without_figures_or_drawings():
    record = Record(make().trial, "failed", "no memory", details={"log_tail": "killed"})
    text = plain_text(show_record(record, whole=False), 80)
    assert "no memory" in text
    assert "killed" in text
    assert "figures\n" not in text


def test_n_gram_losses_of_several_texts_name_their_trials():
    one, other = (
        make(length=length, details={"task": {"ngram_losses": {"trigram": loss}}})
        for length, loss in ((20, 2.0), (30, 3.0))
    )
    text = plain_table([one, other], 200)
    assert "\nn-gram losses: lstm numpy:loop T=30: trigram 3.000\n" in text
    assert "\nn-gram losses: trigram 2.000\n" in plain_table([one], 200)


def test_a_text_task_is_shown_in_bits_per_character_too():
    text = printed(make(details={"task": {"ngram_losses": {"unigram": 3.0}}}))
    assert re.search(r"bits_per_character +0\.3607$", text, re.MULTILINE)  # 0.25 / ln 2
    assert "bits" not in printed(make())
    of_bytes = {"task": {"ngram_losses": {"trigram": 3.0}, "vocabulary": "bytes"}}
    text = printed(make(details=of_bytes))
    assert "bits_per_byte" in text
    assert "nats per byte" in text


def test_facts_stand_below_each_other_and_what_is_empty_or_nested_is_told_in_words():
    environment = {
        f"variables.{'n' * 34}": 1,
        "gpus": [],
        "commit": "",
        "blas": [{"api": "blas", "threads": 1}, {"api": "lapack"}],
        "virtual": True,
    }
    lines = printed(
        make(environment=environment, details={"libraries": ["some-library-1.0"] * 9})
    ).splitlines()
    starts = [line[47:] for line in lines[lines.index("environment") + 4 :][:5]]
    assert starts == ["1", "-", "-", "api=blas, threads=1; api=lapack", "yes"]
    second = lines[
        next(index for index, line in enumerate(lines) if line.startswith("  libraries")) + 1
    ]
    assert re.match(r" {29}some-library", second)


def test_a_status_is_told_in_words_and_the_gradient_norm_by_its_ends():
    shown = printed(
        make(status="out_of_memory", reason="no more", curves={"gradient_norm": [1.0, 5.0, 2.0]})
    )
    assert shown.splitlines()[0].endswith("out of memory")
    assert "first 1.00, last 2.00" in shown


def test_evaluations_that_are_not_shown_are_counted():
    def shown(count):
        evaluations = [{"step": step, "loss_validation": 1.0} for step in range(count)]
        return printed(make(curves={"evaluations": evaluations}))

    assert "12 of 40 evaluations; -f json has all" in shown(40)
    assert "of 12 evaluations" not in shown(12)


def test_a_failed_record_is_shown_with_its_reason_and_log():
    text = printed(
        make(
            status="crashed",
            reason="crashed (SIGSEGV) [/x]",
            details={"traceback": "line 1\nline 2"},
        )
    )
    assert "crashed (SIGSEGV) [/x]" in text
    assert "line 1\nline 2" in text


@pytest.mark.parametrize(
    "odd", [3, "text", [3], ["text"], [None], [{"tokens_per_second": "fast"}], {"a": 1}]
)
def test_a_record_with_odd_details_is_shown(odd):
    names = (
        "launch_figures",
        "attempts",
        "samples",
        "overfitting_gap",
        "best_step",
        "best_loss_validation",
    )
    assert "loss_validation" in printed(make(details=dict.fromkeys(names, odd)))


def test_a_record_is_shown_without_control_characters_and_on_a_terminal_without_unicode():
    assert "\x1b" not in printed(full_record())
    assert "loss_validation" in printed(full_record(), "ascii")


def test_a_record_as_json_is_read_back():
    record = full_record()
    assert Record.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False))) == record
