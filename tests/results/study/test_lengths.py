"""Trained at T, evaluated at other lengths: the table and the chart have the record's figures."""

import re
from dataclasses import replace

import pytest

from chart_records import make
from harness.contract import Record
from harness.contract.records.evaluated import at_lengths, evaluated, on_test
from harness_results.exporters import conversion
from harness_results.render.show import show_record
from harness_results.render.terminal import plain_table
from harness_results.study.seeds.summary import over_seeds
from harness_results.study.study import Study
from harness_results.study.tables.lengths import lengths_table
from harness_results.text.lines import plain_text


def judged(*entries, cell="lstm", length=20, status="ok", **figures):
    """Return a record with a set for each (name, length, accuracy, loss ratio)."""
    record = make(cell=cell, length=length, status=status, **figures)
    sets = [
        {
            "name": name, "length": at, "accuracy": accuracy, "loss_ratio": ratio,
            "loss_validation": 0.1, "solved": ratio < 0.01,
        }
        for name, at, accuracy, ratio in entries
    ]  # fmt: skip
    return replace(record, details={**record.details, "evaluation_sets": sets})


TEST = ("test", 20, 0.97, 0.009)
SETS = (("T=40", 40, 0.9, 0.5), ("T=10", 10, 1.0, 0.001), TEST)


def test_a_row_is_a_network_and_a_column_a_length():
    records = [
        judged(*SETS, accuracy=0.99),
        judged(("T=80", 80, 0.5, 1.0), cell="rnn", length=40, accuracy=0.5),
    ]
    grid = lengths_table(Study(records))
    assert grid.columns == ("at 10", "at 20", "at 40", "at 80", "test")
    (first, cells), (second, others) = grid.rows
    assert (first[0], first[-1], second[0], second[-1]) == ("lstm", "20", "rnn", "40")
    assert [cell.strip() for cell in cells] == ["1.000 ✓", "0.990 ✓", "0.900", "", "0.970 ✓"]
    assert [cell.strip() for cell in others] == ["", "", "0.500", "0.500", ""]
    assert grid.title in plain_table(records)


def test_without_an_accuracy_it_is_the_loss_against_the_baseline():
    record = judged(("T=40", 40, None, 0.5))
    grid = lengths_table(Study([record]))
    assert grid.title.startswith("adding: loss as a multiple of baseline")
    assert [cell.strip() for cell in grid.rows[0][1]] == ["0.006x ✓", "0.50x"]


@pytest.mark.parametrize(
    "record", [make(), judged(TEST), judged(*SETS, status="failed"), replace(make(), details={})]
)
def test_there_is_no_table_of_the_test_set_alone_or_of_failures(record):
    assert lengths_table(Study([record])) is None


def test_the_lengths_of_a_record_ascend_and_hold_the_trained_one():
    record = judged(*SETS, accuracy=0.99)
    assert [each.length for each in at_lengths(record)] == [10, 20, 40]
    assert [each.accuracy for each in at_lengths(record)] == [1.0, 0.99, 0.9]
    assert on_test(record).accuracy == 0.97
    assert evaluated(make()) == at_lengths(judged(TEST)) == []


def test_the_chart_draws_the_figures_of_the_table():
    pytest.importorskip("altair")
    from harness_results.charts import all_charts, chart_of
    from harness_results.charts.series import labelled

    record = judged(*SETS, accuracy=0.99)
    rows = list(all_charts()["lengths"].rows(labelled([record, make(cell="rnn")])))
    points = [(row["judged_at"], row["y"]) for row in rows if row["part"] == "measured"]
    assert points == [(10, 1.0), (20, 0.99), (40, 0.9)]
    assert [row["judged_at"] for row in rows if row["part"] == "trained"] == [20]
    for drawn in (record, judged(("T=40", 40, None, 0.5))):
        chart_of([drawn], "lengths").to_dict(validate=True)


def test_the_page_draws_networks_of_one_trained_length():
    pytest.importorskip("altair")
    from harness_results.page.figures import figures

    drawn = {figure["name"]: figure for figure in figures([judged(*SETS, accuracy=0.99)]).drawn}
    columns = drawn["lengths"]["columns"]
    points = zip(columns["judged_at"], columns["y"], strict=True)
    assert [at for at, y in points if y] == [10, 20, 40]
    assert "loss" not in drawn  # a single point


@pytest.mark.parametrize(
    "odd", [3, "text", [3], [{}], [{"length": "long"}], [{"length": 5, "accuracy": []}], [None]]
)
def test_what_a_store_cannot_mean_is_left_out(odd):
    record = make()
    content = record.to_json()
    content["details"]["evaluation_sets"] = odd
    read = Record.from_json(content)
    assert [each.accuracy for each in evaluated(read)] in ([], [None])
    assert bool(read.details.get("flags")) == (odd != [{}])
    plain_table([read])


def test_one_trial_shows_and_exports_each_set():
    record = judged(*SETS, accuracy=0.99)
    shown = plain_text(show_record(record), 100)
    assert "after training, on further held-out data" in shown
    assert re.search(r"T=40 +40 +0\.100 +0\.500 +0\.900 +no", shown)
    figures = conversion.shared(record, alone=True).figures
    assert figures["test.accuracy"] == 0.97
    assert figures["T_3d_40.loss_ratio"] == 0.5


def test_seeds_are_one_row_of_medians_and_a_failed_seed_is_the_worst():
    accuracies = (1.0, 0.9, 0.5, None)
    seeds = [
        judged(
            ("T=40", 40, accuracy, 0.001 if accuracy == 1.0 else 0.5),
            accuracy=1.0,
            trial={"seed": seed},
        )
        for seed, accuracy in enumerate(accuracies[:3])
    ]
    failed = judged(status="diverged", trial={"seed": 3})
    (summary,) = over_seeds([*seeds, failed])
    grid = lengths_table(Study([summary]))
    assert [cell.strip() for cell in grid.rows[0][1]] == ["1.000 3/4", "0.700 1/4"]
    pytest.importorskip("altair")
    from harness_results.charts import all_charts
    from harness_results.charts.series import labelled

    rows = [row for row in all_charts()["lengths"].rows(labelled([summary])) if row.get("y")]
    assert [(row["judged_at"], row["low"], row["y"], row["high"]) for row in rows] == [
        (20, 0.0, 1.0, 1.0),
        (40, 0.0, 0.7, 1.0),
    ]
