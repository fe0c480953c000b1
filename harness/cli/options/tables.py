"""``--tables``: the tables that a run prints if they are asked for."""

from __future__ import annotations

ASKED = ("lengths", "probes", "scaling", "limits")
ALL = "all"


def further_table(text: str) -> str:
    """Return the name of a table.

    Raises:
        ValueError: there is no such table.
    """
    name = text.lower()
    if name not in (*ASKED, ALL):
        raise ValueError(f"no such table; write {', '.join(ASKED)} or {ALL}")
    return name
