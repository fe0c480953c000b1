"""Rules for names: what plugins may be called, and how free text is made safe to show."""

from __future__ import annotations

import re

from harness.contract.errors import UsageError

NAME_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
LONGEST = 2000  # characters of a reason
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def check_name(kind: str, name: object) -> str:
    """Return ``name`` if it may name a ``kind`` of thing.

    Raises:
        UsageError: it is not text of 1 to 64 letters, digits, ``.``, ``_`` and ``-``.
    """
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{kind} name {name!r} is not allowed: use 1 to 64 letters, digits, '.', '_' or '-'"
        )
    return name


def printable(text: str) -> str:
    """Return ``text`` with control characters (ESC, and those that turn its direction) replaced by visible escapes."""
    return _CONTROL.sub(lambda match: _escape(ord(match.group())), text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004


def shortened(text: str, most: int = LONGEST) -> str:
    """Return ``text``, cut after ``most`` characters with how many more there were."""
    return text if len(text) <= most else f"{text[:most]} ... ({len(text) - most} characters more)"


def text_of(thing: object) -> str:
    """Return the ``repr`` of something that a plugin returned; its kind where that fails."""
    try:
        return repr(thing)
    except Exception:  # noqa: BLE001 (a plugin's own, which may raise anything)
        return f"a {type(thing).__name__} that cannot be shown"


def error_text(error: BaseException) -> str:
    """Return the kind of an error and its words; the kind alone where it has none, or fails to tell them."""
    words = words_of(error)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def words_of(error: BaseException) -> str:
    """Return the words of an error; none where it fails to tell them."""
    try:
        return str(error).strip()
    except Exception:  # noqa: BLE001 (a plugin's own, which may raise anything)
        return ""
