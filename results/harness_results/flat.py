"""Every launch of a store as flat rows, some at a time, and their writers: CSV and JSON Lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, Any

from harness.contract.record import COLUMNS, Record
from harness_results.export import cell
from harness_results.rows import Launch
from harness_results.schema import encode
from harness_results.store import Store

CONTENTS = ("trial", "details", "environment")  # JSON: everything that has no column of its own
FLAT_COLUMNS = ("run_id", "launch", *COLUMNS, *CONTENTS)
Rows = Iterable[Mapping[str, Any]]


def flat_rows(store: Store, run_id: int | None, *, with_curves: bool) -> Iterator[dict[str, Any]]:
    """Yield one mapping per launch, of all runs or one, in the order in which they were stored."""
    for launch in store.each_launch(run_id, with_curves=with_curves):
        yield _row(launch, launch.record, with_curves=with_curves)


def write_json_lines(rows: Rows, file: IO[str]) -> None:
    """Write one object per row and line, in ASCII; unknown is null."""
    file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)


def write_csv(rows: Rows, file: IO[str]) -> None:
    """Write a header and one line per row; contents are JSON, unknown is empty, text is as safe as in a report."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(FLAT_COLUMNS)
    writer.writerows([cell(_text(name, row[name])) for name in FLAT_COLUMNS] for row in rows)


def _row(launch: Launch, record: Record, *, with_curves: bool) -> dict[str, Any]:
    content = record.to_json()
    row = {"run_id": launch.run_id, "launch": launch.number, **record.columns()}
    return row | {name: content[name] for name in (*CONTENTS, *(("curves",) if with_curves else ()))}


def _text(name: str, value: Any) -> Any:
    return encode(value) if name in CONTENTS else value


WRITERS: dict[str, Callable[[Rows, IO[str]], None]] = {"csv": write_csv, "jsonl": write_json_lines}
