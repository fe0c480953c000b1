"""Engines side by side: multiples, the limit, and what is left blank or marked."""

from dataclasses import replace

import pytest

from builders import trial_of
from harness.contract import Record, UsageError
from harness_results.render.terminal import ReportTables
from harness_results.study.tables.relative import least_seconds, relative
from harness_results.study.tables.sections import relative_report
from harness_results.text.lines import plain_text
from launched import in_turns


def make(engine, length=64, hidden=128, step=0.010, status="ok", fraction=0.5, details=None):
    trial = trial_of(engine, task="char", length=length, hidden=hidden, batch=32)
    figures = {
        "tokens_per_second": 32 * length / step,
        "step_seconds_median": step,
        "fraction_of_serial_limit": fraction,
    }
    return Record(
        trial,
        status,
        figures=figures if status == "ok" else {},
        details={"launches": 3, **(details or {})},
    )


RECORDS = [
    make("torch:library"),
    make("numpy:native", step=0.005, fraction=0.8),
    make("haiku:unroll", step=0.001, details={"deviation": "resets before the product"}),
    make("torch:library", length=512, hidden=64, step=0.1, fraction=None),
    make("numpy:native", length=512, hidden=64, status="failed"),
]


def test_a_cell_is_the_throughput_over_that_of_the_base_at_the_same_network_and_length():
    (grid,) = relative(RECORDS, "torch:library")
    assert grid.columns == (
        "limit",
        "torch:library",
        "numpy:native",
        "haiku:unroll",
        "fastest",
        "x limit",
    )
    assert [cells[2] for _, cells in grid.rows] == ["2.00", "failed"]
    assert grid.rows[0][1][1] == "10.0 ms"


def test_the_limit_is_the_lowest_that_any_engine_allows():
    assert least_seconds(RECORDS[:2]) == pytest.approx(0.004)  # 0.8 of 5 ms, not 0.5 of 10 ms
    (grid,) = relative(RECORDS[:2], "torch:library")
    assert grid.rows[0][1][0] == "4.00 ms"
    assert least_seconds(RECORDS[3:]) is None


def test_another_function_is_marked_and_never_the_fastest():
    proven = [
        replace(one, figures={**one.figures, "parity_error": 1e-7})
        for one in RECORDS
        if one.status == "ok"
    ]
    (grid,) = relative(in_turns(proven), "torch:library")
    cells = grid.rows[0][1]
    assert cells[3] == "10.0 ≠"
    assert cells[4:] == ("numpy:native", "10.0")
    (grid,) = relative(in_turns(proven, 4), "torch:library")
    assert grid.rows[0][1][4:] == ("cannot tell", "10.0")
    assert any("another function" in note for note in grid.notes)


def test_seeds_that_agree_in_six_digits_have_rows_of_their_own():
    seeded = [
        replace(record, trial=record.trial.model_copy(update={"seed": seed}))
        for seed in (20240101, 20240102)
        for record in RECORDS[:2]
    ]
    (grid,) = relative(seeded, "torch:library")
    assert [place[1] for place, _ in grid.rows] == ["20240101", "20240102"]


def test_an_unknown_base_is_named_with_those_there_are():
    with pytest.raises(UsageError, match="numpy:native"):
        relative(RECORDS, "numpy:nativ")


def test_the_table_says_what_it_shows_and_fits_a_narrow_terminal():
    text = plain_text(ReportTables(relative_report(RECORDS, "torch:library")), 80)
    assert "medians of 3 launches" in text.replace("\n", " ")
    assert max(map(len, text.splitlines())) <= 80
