"""Rules for names: what plugins may be called, and how free text is made safe to show."""

from __future__ import annotations

import re

from harness.contract.errors import UsageError

NAME_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def check_name(kind: str, name: object) -> str:
    """Return ``name`` if it may name a ``kind`` of thing.

    Raises:
        UsageError: it is not text of 1 to 64 letters, digits, ``.``, ``_`` and ``-``.
    """
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise UsageError(f"{kind} name {name!r} is not allowed: use 1 to 64 letters, digits, '.', '_' or '-'")
    return name


def printable(text: str) -> str:
    """Return ``text`` with control characters (ESC among them) replaced by visible escapes."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text)
