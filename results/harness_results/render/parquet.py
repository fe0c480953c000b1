"""Flat rows as a Parquet file: typed columns, JSON text for the rest. Only this needs pyarrow."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

from harness.contract.errors import UnavailableError
from harness.contract.records.columns import TABLE
from harness_results.render.flat import CONTENTS
from harness_results.store.database.schema import encode

ROWS = 2000  # of one row group
TYPES = {"run_id": int, "launch": int} | {column.name: column.type for column in TABLE}
FIX = 'pip install "rnn-harness[parquet]"'


def write_parquet(rows: Iterable[Mapping[str, Any]], file: IO[bytes], names: Sequence[str]) -> None:
    """Write these columns of the rows, some rows at a time.

    Raises:
        UnavailableError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise UnavailableError(
            f"Parquet needs pyarrow, which is not installed. Install it: {FIX}"
        ) from error
    stored = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
    schema = pa.schema([(name, stored[TYPES.get(name, str)]) for name in names])
    iterator = iter(rows)
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while some := [_typed(row, names) for row in itertools.islice(iterator, ROWS)]:
            writer.write_table(pa.Table.from_pylist(some, schema=schema))


def _typed(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: _value(name, row[name]) for name in names}


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in (*CONTENTS, "curves"):
        return encode(value)
    if TYPES.get(name) is float:
        return float(value)
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
