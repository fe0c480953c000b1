"""Records as flat data: CSV and JSON lines, each with exactly the columns of a record."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

from harness.contract.record import COLUMNS, Record
from harness_results.text import safe

# a spreadsheet would run what follows: the four signs, also as wide as an ideograph, and white space before one
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")


def to_json_lines(records: Iterable[Record]) -> str:
    """Return one flat object per record and line, in ASCII; unknown is null."""
    return "".join(json.dumps(record.columns(), allow_nan=False) + "\n" for record in records)


def to_csv(records: Iterable[Record]) -> str:
    """Return a header and one line per record; unknown is empty, text that a spreadsheet would run is quoted."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([cell(value) for value in record.columns().values()] for record in records)
    return lines.getvalue()


def cell(value: Any) -> Any:
    """Return a value as CSV has it: text without control characters, and quoted where a spreadsheet would run it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        text = safe(value)
        return f"'{text}" if value.startswith(FORMULA_STARTS) else text
    return value
