"""The tables of a store in SQLAlchemy Core, the same for every kind of database."""

from __future__ import annotations

import json
import zlib
from typing import Any

from sqlalchemy import (
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from harness.contract.records.record import finite
from harness_results.store.database.decoding import as_kind, as_moment, from_json, from_packed

SCHEMA_VERSION = 3
WITH_SETTINGS = 2  # from this version on there are calibrations and run_settings
WITH_IDENTITIES = 3  # ... and identities, record_identities, taken, drivers and claims
SINCE = "since"  # key of a table's info: the version that added it, if not the first


def _plain(value: Any) -> Any:
    """Return NumPy scalars and arrays as numbers and lists, and any other object as text."""
    return finite(value.tolist()) if hasattr(value, "tolist") else str(value)


def encode(value: Any) -> str:
    """Return ``value`` as compact ASCII JSON, with null for numbers that are not finite."""
    return json.dumps(finite(value), allow_nan=False, separators=(",", ":"), default=_plain)


class Json(TypeDecorator[Any]):
    """JSON in a text column: lossless for any text, including NUL and lone surrogates.

    Args:
        kind: the required type of a value, such as ``dict``; None: any.
    """

    impl = Text
    cache_ok = True

    def __init__(self, kind: type | None = None) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Encode."""
        return None if value is None else encode(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Decode."""
        return None if value is None else from_json(value, self.kind)


class Packed(TypeDecorator[Any]):
    """Compressed JSON in a binary column, for curves: one value or None per step."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes:
        """Encode and compress."""
        return zlib.compress(encode(value).encode("ascii"))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Decompress and decode."""
        return from_packed(value)


class Words(TypeDecorator[str]):
    """Text, checked when it is read: a column of SQLite may hold values of any type."""

    impl = String
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Check."""
        return None if value is None else as_kind(value, str)


class Moment(TypeDecorator[str]):
    """A moment in ISO 8601."""

    impl = String
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Check."""
        return None if value is None else as_moment(value)


class Whole(TypeDecorator[int]):
    """A whole number."""

    impl = Integer
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        """Check."""
        return None if value is None else as_kind(value, int)


tables = MetaData()

meta = Table(
    "meta",
    tables,
    Column("name", Words(64), primary_key=True),
    Column("value", Words(), nullable=False),
)

trials = Table(
    "trials",
    tables,
    Column("trial_id", Words(64), primary_key=True),
    Column("backend", Words(64), nullable=False),
    Column("variant", Words(64), nullable=False),
    Column("task", Words(64), nullable=False),
    Column("cell", Words(64), nullable=False),
    Column("length", Whole, nullable=False),
    Column("content", Json, nullable=False),
)

runs = Table(
    "runs",
    tables,
    Column("run_id", Whole, primary_key=True),
    Column("started_at", Moment(64), nullable=False),
    Column("command", Json(str), nullable=False),
    Column("harness_version", Words(64), nullable=False),
)

run_settings = Table(
    "run_settings",
    tables,
    Column("run_id", ForeignKey("runs.run_id"), primary_key=True),
    Column("content", Json(dict), nullable=False),
    info={SINCE: WITH_SETTINGS},
)

calibrations = Table(
    "calibrations",
    tables,
    Column("environment_id", Words(64), primary_key=True),
    Column("name", Words(255), primary_key=True),
    Column("content", Json, nullable=False),
    Column("measured_at", Moment(64), nullable=False),
    info={SINCE: WITH_SETTINGS},
)

environments = Table(
    "environments",
    tables,
    Column("digest", Words(64), primary_key=True),
    Column("content", Json, nullable=False),
)

records = Table(
    "records",
    tables,
    Column("record_id", Whole, primary_key=True),
    Column("run_id", ForeignKey("runs.run_id"), nullable=False),
    Column("trial_id", ForeignKey("trials.trial_id"), nullable=False),
    # 1, 2, ...: counts how often this run has measured this trial
    Column("launch", Whole, nullable=False),
    Column("status", Words(32), nullable=False),
    Column("reason", Json(str)),
    Column("figures", Json, nullable=False),
    Column("details", Json, nullable=False),
    Column("environment", ForeignKey("environments.digest"), nullable=False),
    Column("environment_id", Words()),
    Column("started_at", Moment()),
    Column("harness_version", Words()),
    UniqueConstraint("run_id", "trial_id", "launch"),
    Index("records_by_trial", "trial_id", "record_id"),
)

curves = Table(
    "curves",
    tables,
    Column("record_id", ForeignKey("records.record_id"), primary_key=True),
    Column("name", Words(64), primary_key=True),
    Column("content", Packed, nullable=False),
)

identities = Table(
    "identities",
    tables,
    Column("fingerprint", Words(64), primary_key=True),
    Column("facts", Json(dict), nullable=False),  # name -> version, digest or setting
    info={SINCE: WITH_IDENTITIES},
)

record_identities = Table(
    "record_identities",
    tables,
    Column("record_id", ForeignKey("records.record_id"), primary_key=True),
    Column("fingerprint", ForeignKey("identities.fingerprint"), nullable=False),
    info={SINCE: WITH_IDENTITIES},
)

reused = Table(  # records of earlier runs that count as launches of this run
    "taken",
    tables,
    Column("run_id", ForeignKey("runs.run_id"), primary_key=True),
    Column("record_id", ForeignKey("records.record_id"), primary_key=True),
    Index("taken_by_record", "record_id"),
    info={SINCE: WITH_IDENTITIES},
)

drivers = Table(  # processes that measure now, or that were killed while they measured
    "drivers",
    tables,
    Column("driver_id", Whole, primary_key=True),
    Column("run_id", ForeignKey("runs.run_id"), nullable=False),
    Column("process", Json(dict), nullable=False),  # host, pid, and when it began
    Column("started_at", Moment(64), nullable=False),
    Column("updated_at", Moment(64), nullable=False),
    Column("progress", Json(dict), nullable=False),
    info={SINCE: WITH_IDENTITIES},
)

claims = Table(  # launches that a driver has begun but not stored yet
    "claims",
    tables,
    # a fingerprint; "run N" if only the launches of run N count
    Column("scope", Words(64), primary_key=True),
    Column("trial_id", Words(64), primary_key=True),
    Column("slot", Whole, primary_key=True),
    Column("driver_id", ForeignKey("drivers.driver_id"), nullable=False),
    info={SINCE: WITH_IDENTITIES},
)
