"""Flat rows as CSV and JSON: one row per trial, or one per launch of a store."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any

from harness.contract.records.columns import COLUMNS
from harness.contract.records.record import Record
from harness_results.store.database.schema import encode
from harness_results.store.rows import Launch
from harness_results.store.store import Store
from harness_results.study.seeds.summary import SeedSummary, over_seeds
from harness_results.study.versions import software
from harness_results.text.format import safe
from harness_results.text.json_text import Rows, json_parts, json_text

CONTENTS = ("trial", "details", "environment")  # JSON: everything that has no column
FLAT_COLUMNS = ("run_id", "launch", *COLUMNS, *CONTENTS)
# A spreadsheet would run a text that starts so: with one of four signs, also in full width, or
# with white space, which may come before a sign.
FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r", "\n")


def to_json(records: Iterable[Record], format_: str = "json", *, per_seed: bool = False) -> str:
    """Return one flat object per network or trial: its columns, and the versions of the software.

    An object of several seeds has medians, and in ``over_seeds`` what they are medians of.

    Args:
        records: one per trial, in the order of the objects.
        format_: ``json``, one array; or ``jsonl``, an object per line.
        per_seed: an object for each seed, instead of one for all seeds of a network.
    """
    rows = map(_with_versions, records if per_seed else over_seeds(records))
    return json_text(rows, format_)


def _with_versions(record: Record) -> dict[str, Any]:
    seeds = {"over_seeds": record.seeds_to_json()} if isinstance(record, SeedSummary) else {}
    return record.columns() | seeds | {"versions": software(record)}


def to_csv(records: Iterable[Record]) -> str:
    """Return a header and one line per record; see ``write_csv``."""
    lines = io.StringIO()
    write_csv((record.columns() for record in records), lines, COLUMNS)
    return lines.getvalue()


def flat_rows(store: Store, run_id: int | None, *, with_curves: bool) -> Iterator[dict[str, Any]]:
    """Yield one mapping per launch, of all runs or of one, in the order of the store."""
    for launch in store.each_launch(run_id, with_curves=with_curves):
        yield _row(launch, launch.record, with_curves=with_curves)


def write_json_lines(rows: Rows, file: IO[str]) -> None:
    """Write one object per row and line, in ASCII; unknown is null."""
    file.writelines(json_parts(rows, "jsonl"))


def write_csv(rows: Rows, file: IO[str], columns: Sequence[str] = FLAT_COLUMNS) -> None:
    """Write a header and one line per row.

    Contents are JSON; an unknown value is empty; a text that a spreadsheet would run is quoted.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(_text(name, row[name])) for name in columns] for row in rows)


def _row(launch: Launch, record: Record, *, with_curves: bool) -> dict[str, Any]:
    content = record.to_json()
    names = (*CONTENTS, "curves") if with_curves else CONTENTS
    row = {"run_id": launch.run_id, "launch": launch.number, **record.columns()}
    return row | {name: content[name] for name in names}


def _text(name: str, value: Any) -> Any:
    return encode(value) if name in CONTENTS else value


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        text = safe(value)
        return f"'{text}" if value.startswith(FORMULA_STARTS) else text
    return value


WRITERS: dict[str, Callable[[Rows, IO[str]], None]] = {"csv": write_csv, "jsonl": write_json_lines}
