"""Flat exports have exactly the columns of a record, and no spreadsheet runs a cell."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract import COLUMNS, Record, Trial
from harness.contract.records.columns import names_of
from harness_results.render.flat import to_csv, to_json

TRIAL = Trial(backend="numpy", variant="loop", task="copy", cell="lstm", length=20)
hostile = st.one_of(
    st.text(),
    st.sampled_from(["</script>", "[bold]", "\x1b[31m", "=cmd()", "\ud800", "a\r\nb", "\x00", '"']),
)


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_json_has_exactly_the_columns_and_versions_and_null_for_unknown():
    record = Record(
        TRIAL, "ok", figures={"loss_final": float("nan"), "solved": True, "steps_to_solve": 7}
    )
    (row,) = json.loads(to_json([record]))
    assert list(row) == [*COLUMNS, "versions"]
    assert (row["loss_final"], row["solved"], row["steps_to_solve"], row["accuracy"]) == (
        None,
        True,
        7,
        None,
    )


def test_csv_has_exactly_the_columns_and_nothing_for_unknown():
    record = Record(
        TRIAL, "ok", figures={"loss_final": float("inf"), "solved": True, "gradient_decay": -0.5}
    )
    (row,) = read_csv(to_csv([record]))
    assert list(row) == list(COLUMNS)
    assert (row["loss_final"], row["solved"], row["gradient_decay"]) == ("", "true", "-0.5")


def test_no_records_give_a_header_or_nothing():
    assert to_csv([]) == ",".join(COLUMNS) + "\n"
    assert (to_json([]), to_json([], "jsonl")) == ("[]\n", "")


@pytest.mark.parametrize(
    "start", ["=cmd()", "+1", "-1", "@x", "\tx", "\rx", "\n=x", "\uff1dx", "\uff20x"]
)
def test_a_cell_that_a_spreadsheet_would_run_is_quoted(start):
    (row,) = read_csv(to_csv([Record(TRIAL, "failed", start)]))
    assert row["reason"].startswith("'")


@settings(max_examples=100, deadline=None)
@given(reason=hostile, environment=hostile)
def test_any_text_survives_as_one_row(reason, environment):
    records = [Record(TRIAL, "failed", reason, environment_id=environment)] * 2
    assert [row["reason"] for row in json.loads(to_json(records))] == [
        reason,
        reason,
    ]
    assert to_json(records).isascii()
    text = to_csv(records)
    text.encode()
    assert "\x1b" not in text
    assert [row["backend"] for row in read_csv(text)] == ["numpy", "numpy"]


@pytest.mark.parametrize(
    "settings_",
    [
        {},
        {"checkpoint": "auto", "devices": 2},
        {"task_options": {"corpus": "=cmd()", "limit": None}, "evaluate_every": 7, "python": "old"},
        {
            "optimizer": "sgd",
            "momentum": 0.9,
            "schedule": "cosine",
            "schedule_steps": 9,
            "dropout": 0.5,
            "chrono": 30,
        },
    ],
)
def test_a_row_with_its_settings_is_the_whole_trial(settings_):
    trial = TRIAL.model_copy(update=settings_)
    (row,) = json.loads(to_json([Record(trial, "ok")]))
    others = json.loads(row["settings"])
    assert (others == {}) == (not settings_)
    asked = {name: row[name] for name in names_of("trial")[1:]} | others
    assert Trial(**asked).trial_id == row["trial_id"] == trial.trial_id
    (cells,) = read_csv(to_csv([Record(trial, "ok")]))
    assert cells["settings"] == row["settings"]


def test_a_row_says_what_its_figures_must_be_read_with():
    details = {"gradient_horizon_censored": True, "deviation": "resets late"}
    columns = Record(TRIAL, "ok", details=details).columns()
    assert (columns["gradient_horizon_censored"], columns["deviation"]) == (True, "resets late")
    assert Record(TRIAL, "ok").columns()["deviation"] is None
