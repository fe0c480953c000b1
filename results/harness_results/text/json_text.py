"""Rows as JSON: one array, or one object per line (``jsonl``). ASCII; unknown is null."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Rows = Iterable[Mapping[str, Any]]
JSON_FORMATS = ("json", "jsonl")


def json_text(rows: Rows, format_: str = "json") -> str:
    """Return rows as text in ``json`` or ``jsonl``."""
    return "".join(json_parts(rows, format_))


def json_parts(rows: Rows, format_: str = "json") -> Iterator[str]:
    """Yield the text of ``json_text`` row by row. An array has one object per line too."""
    is_array = format_ == "json"
    before = "[" if is_array else ""
    for row in rows:
        yield before + json.dumps(row, allow_nan=False)
        before = ",\n" if is_array else "\n"
    yield {"[": "[]\n", "": "", "\n": "\n", ",\n": "]\n"}[before]
