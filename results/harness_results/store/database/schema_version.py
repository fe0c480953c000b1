"""The versions of a store's tables: which one a database holds, and how it is made or brought up to date."""

from __future__ import annotations

import re

from sqlalchemy import Connection, delete, insert, inspect, select

from harness.contract.errors import StoreError
from harness.version import __version__
from harness_results.store.database import schema
from harness_results.store.database.base import CHOOSE

_VERSION = re.compile(r"[1-9][0-9]{0,3}")


def check_version(connection: Connection, name: str) -> int:
    """Return the version of the tables, 0 where there are none, after refusing what is not ours or is newer.

    Raises:
        StoreError: it is a database of something else, or a store of a newer harness.
    """
    names = inspect(connection).get_table_names()
    if not names:
        return 0
    found = None
    if schema.meta.name in names:
        found = connection.scalar(
            select(schema.meta.c.value).where(schema.meta.c.name == "schema_version")
        )
    if found is None or not _VERSION.fullmatch(found):
        raise StoreError(
            f"{name} is a database, but not a store of this program; it was left as it is: {CHOOSE}."
        )
    version = int(found)
    if version > schema.SCHEMA_VERSION:
        made = f"has version {found}, made by a newer harness; this one reads up to {schema.SCHEMA_VERSION}"
        raise StoreError(
            f"store {name} {made}. It was left as it is: update rnn-harness, or {CHOOSE}."
        )
    expected = [
        table.name
        for table in schema.tables.sorted_tables
        if table.info.get(schema.SINCE, 1) <= version
    ]
    if missing := [table for table in expected if table not in names]:
        raise StoreError(
            f"store {name} is damaged: it has no table {', '.join(missing)}. Restore it, or {CHOOSE}."
        )
    return version


def bring_up_to_date(connection: Connection, name: str) -> None:
    """Make the tables that are missing: all of them, or those that an older version lacks."""
    if check_version(connection, name) == schema.SCHEMA_VERSION:  # another process was faster
        return
    schema.tables.create_all(connection)
    facts = {"schema_version": str(schema.SCHEMA_VERSION), "harness_version": __version__}
    connection.execute(delete(schema.meta).where(schema.meta.c.name.in_(facts)))
    connection.execute(
        insert(schema.meta), [{"name": key, "value": value} for key, value in facts.items()]
    )


def try_to_write(connection: Connection) -> None:
    """Raise what the database raises where it cannot be written; nothing is changed."""
    connection.execute(
        insert(schema.meta).values(name="writable", value="")
    )  # a real change, or nothing is tried
    connection.rollback()
