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
    texts = (json.dumps(row, allow_nan=False) for row in rows)
    if format_ == "jsonl":
        yield from (f"{text}\n" for text in texts)
        return
    yield "["
    for number, text in enumerate(texts):
        yield f",\n{text}" if number else text
    yield "]\n"
