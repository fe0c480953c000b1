"""The rows of a store without decoding, so that a damaged value does not hide the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    MetaData,
    Row,
    Table,
    TypeDecorator,
    inspect,
    select,
)

from harness_results.store.database import schema

BATCH = 500  # rows at a time: curves can be large
DAMAGED = (ValueError,)  # what decoding raises
_CONTENT = (
    "trial_id", "status", "reason", "figures", "details", "environment", "environment_id",
    "started_at", "harness_version",
)  # fmt: skip


def _raw(table: Table) -> Table:
    return Table(table.name, MetaData(), *(_raw_column(column) for column in table.columns))


def _raw_column(column: Column[Any]) -> Column[Any]:
    kind = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    return Column(column.name, kind, primary_key=column.primary_key)


TABLES = {name: _raw(table) for name, table in schema.tables.tables.items()}
REUSED = "taken"  # table of the records that later runs reuse; not a child of a record
CHILDREN = {  # tables whose rows belong to a record -> their column that refers to it
    table.name: key.parent.name
    for table in schema.tables.sorted_tables
    for key in table.foreign_keys
    if key.column.table.name == "records" and table.name != REUSED
}


def present(connection: Connection) -> list[str]:
    """Return the names of the tables that this store has, parents before children."""
    names = set(inspect(connection).get_table_names())
    return [table.name for table in schema.tables.sorted_tables if table.name in names]


def batches(
    connection: Connection, name: str, where: ColumnElement[bool] | None = None
) -> Iterator[Sequence[Row[Any]]]:
    """Yield the rows of a table that match ``where`` in batches, in the order of the key."""
    table = TABLES[name]
    query = select(table).order_by(*table.primary_key).execution_options(yield_per=BATCH)
    with connection.execute(query if where is None else query.where(where)) as rows:
        yield from rows.partitions()


def decode(name: str, column: str, value: Any) -> Any:
    """Return the decoded value of a table's column.

    Raises:
        ValueError: it is damaged.
    """
    kind = schema.tables.tables[name].columns[column].type
    return kind.process_result_value(value, None) if isinstance(kind, TypeDecorator) else value  # type: ignore[arg-type]


def digest(record: Mapping[Any, Any]) -> str:
    """Return a hash of a raw record's content, the same in every store that holds it."""
    return hashlib.sha256(json.dumps([record[name] for name in _CONTENT]).encode()).hexdigest()
