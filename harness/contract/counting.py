"""Numbers of things, in words."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """Return ``1 trial``, ``2 launches``."""
    plural = f"{what}es" if what.endswith("ch") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"


def are(number: int) -> str:
    """Return the verb after a number: ``is`` or ``are``."""
    return "is" if number == 1 else "are"
