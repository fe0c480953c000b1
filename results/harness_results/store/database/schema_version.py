"""Reads, checks and updates the version of a store's tables."""

from __future__ import annotations

import re

from sqlalchemy import Connection, delete, insert, inspect, select

from harness.contract.errors import StoreError
from harness.version import __version__
from harness_results.store.database import schema
from harness_results.store.database.base import CHOOSE

_VERSION = re.compile(r"[1-9][0-9]{0,3}")


def check_version(connection: Connection, name: str) -> int:
    """Return the version of the tables; 0: there are no tables.

    Raises:
        StoreError: it is another program's database, a store of a newer harness, or it lacks a
            table.
    """
    names = inspect(connection).get_table_names()
    if not names:
        return 0
    text = None
    if schema.meta.name in names:
        text = connection.scalar(
            select(schema.meta.c.value).where(schema.meta.c.name == "schema_version")
        )
    if text is None or not _VERSION.fullmatch(text):
        raise StoreError(
            f"{name} is a database, but not a store of this program; "
            f"it was left as it is: {CHOOSE}."
        )
    version = int(text)
    if version > schema.SCHEMA_VERSION:
        raise StoreError(
            f"store {name} has version {version}, made by a newer harness; this one reads up to "
            f"{schema.SCHEMA_VERSION}. It was left as it is: update rnn-harness, or {CHOOSE}."
        )
    missing = [
        table.name
        for table in schema.tables.sorted_tables
        if table.info.get(schema.SINCE, 1) <= version and table.name not in names
    ]
    if missing:
        raise StoreError(
            f"store {name} is damaged: it has no table {', '.join(missing)}. "
            f"Restore it, or {CHOOSE}."
        )
    return version


def bring_up_to_date(connection: Connection, name: str) -> None:
    """Make the missing tables: all, or those that an older version lacks."""
    if check_version(connection, name) == schema.SCHEMA_VERSION:
        return  # another process did it meanwhile
    schema.tables.create_all(connection)
    facts = {"schema_version": str(schema.SCHEMA_VERSION), "harness_version": __version__}
    connection.execute(delete(schema.meta).where(schema.meta.c.name.in_(facts)))
    connection.execute(
        insert(schema.meta), [{"name": key, "value": value} for key, value in facts.items()]
    )


def try_to_write(connection: Connection) -> None:
    """Raise the database's error if it cannot be written. Nothing is changed."""
    # Only a real change is checked by every database. It is taken back.
    connection.execute(insert(schema.meta).values(name="writable", value=""))
    connection.rollback()
