"""Errors of a PostgreSQL server or its driver, with the fix and without a password."""

from __future__ import annotations

import re

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from harness.contract.errors import StoreError
from harness_results.store.database.base import CHOOSE, cause_of, locked
from harness_results.text.format import one_line
from harness_results.text.passwords import without_password

LOCK_SECONDS = 30
GRANT = "GRANT ALL on its schema, tables and sequences TO {user}"
# The connection was lost or refused for now, or another transaction was in the way.
_PASSING = re.compile("08|40001|40P01|53300|57P0[123]")
_FIXES = (  # what the server says while a connection is made, and what helps
    (
        r"password|authentication|pg_hba",
        "Give the right user and password: in the URL, in PGPASSWORD or in ~/.pgpass",
    ),
    (r"database .* does not exist", "Make it (createdb {database}), name another"),
    (r"role .* does not exist", "Make that user (createuser {user}), name another in the URL"),
    (r"", "Start the server, correct host and port in the URL"),
)


def state_of(error: BaseException) -> str:
    """Return the SQLSTATE; empty if no connection could be made, or if it was lost."""
    return getattr(getattr(error, "orig", error), "sqlstate", None) or ""


def is_passing(error: DBAPIError) -> bool:
    """Return whether the server reports something that may be over soon."""
    return bool(_PASSING.match(state_of(error)))


def is_connection_failure(error: Exception) -> bool:
    """Return whether no connection could be made."""
    return isinstance(error, DBAPIError) and error.statement is None and not state_of(error)


def explain(error: Exception, url: URL, name: str) -> StoreError:
    """Return the error for the store ``name`` at ``url``."""
    said = without_password(one_line(cause_of(error))).rstrip(".")
    names = {"database": url.database or "NAME", "user": url.username or "the user"}
    state = state_of(error)
    if state in {"42501", "25006", "55000"}:
        return StoreError(
            f"store {name} cannot be written ({said}): {GRANT.format(**names)}, or {CHOOSE}."
        )
    if state.startswith("53"):
        return StoreError(
            f"store {name} cannot be written ({said}): what was stored before is kept. "
            f"Give the server room, or {CHOOSE}."
        )
    if state == "55P03":
        return locked(name, LOCK_SECONDS)
    if is_connection_failure(error):
        fix = next(fix for pattern, fix in _FIXES if re.search(pattern, said, re.IGNORECASE))
        return StoreError(
            f"store {name} cannot be reached: {said}. {fix.format(**names)}, or {CHOOSE}."
        )
    return StoreError(f"store {name}: {said}. Fix this, or {CHOOSE}.")
