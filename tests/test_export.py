"""Flat exports: exactly the columns of a record, unknown is empty or null, and no spreadsheet runs a cell."""

import csv
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.contract import COLUMNS, Record, Trial
from harness_results.export import to_csv, to_json_lines

TRIAL = Trial(backend="numpy", variant="loop", task="copy", cell="lstm", length=20)
hostile = st.one_of(
    st.text(), st.sampled_from(["</script>", "[bold]", "\x1b[31m", "=cmd()", "\ud800", "a\r\nb", "\x00", '"'])
)


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_json_lines_have_exactly_the_columns_and_null_for_unknown():
    record = Record(TRIAL, "ok", figures={"loss_final": float("nan"), "solved": True, "steps_to_solve": 7})
    (line,) = to_json_lines([record]).splitlines()
    found = json.loads(line)
    assert list(found) == list(COLUMNS)
    assert (found["loss_final"], found["solved"], found["steps_to_solve"], found["accuracy"]) == (None, True, 7, None)


def test_csv_has_exactly_the_columns_and_nothing_for_unknown():
    record = Record(TRIAL, "ok", figures={"loss_final": float("inf"), "solved": True, "gradient_decay": -0.5})
    (found,) = read_csv(to_csv([record]))
    assert list(found) == list(COLUMNS)
    assert (found["loss_final"], found["solved"], found["gradient_decay"]) == ("", "true", "-0.5")


def test_no_records_give_a_header_or_nothing():
    assert to_csv([]) == ",".join(COLUMNS) + "\n"
    assert to_json_lines([]) == ""


@pytest.mark.parametrize("start", ["=cmd()", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_cell_that_a_spreadsheet_would_run_is_quoted(start):
    (found,) = read_csv(to_csv([Record(TRIAL, "failed", start)]))
    assert found["reason"].startswith("'")


@settings(max_examples=100, deadline=None)
@given(reason=hostile, environment=hostile)
def test_any_text_survives_as_one_row(reason, environment):
    records = [Record(TRIAL, "failed", reason, environment_id=environment)] * 2
    assert [json.loads(line)["reason"] for line in to_json_lines(records).splitlines()] == [reason, reason]
    assert to_json_lines(records).isascii()
    text = to_csv(records)
    text.encode()
    assert "\x1b" not in text
    assert [row["backend"] for row in read_csv(text)] == ["numpy", "numpy"]
