"""Trained at T, evaluated at other lengths: the table and the chart have the record's figures."""

from dataclasses import replace

import pytest

from chart_records import make
from harness.contract.records.evaluated import at_lengths, evaluated, on_test
from harness_results.render.terminal import plain_table
from harness_results.study.study import Study
from harness_results.study.tables.lengths import lengths_table


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
    points = [(row["at"], row["y"]) for row in rows if row["part"] == "measured"]
    assert points == [(10, 1.0), (20, 0.99), (40, 0.9)]
    assert [row["at"] for row in rows if row["part"] == "trained"] == [20]
    for drawn in (record, judged(("T=40", 40, None, 0.5))):
        chart_of([drawn], "lengths").to_dict(validate=True)
