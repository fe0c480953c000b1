"""Short pieces of text for messages: valid names, counts, errors, and untrusted text made safe."""

from __future__ import annotations

import re

from harness.contract.errors import UsageError

NAME_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")
LONGEST = 2000  # characters of a message
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def check_name(kind: str, name: object) -> str:
    """Return ``name`` if it is a valid name of a ``kind``, such as ``backend``.

    Raises:
        UsageError: it is not text of 1 to 64 letters, digits, ``.``, ``_`` and ``-``.
    """
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{kind} name {name!r} is not allowed: use 1 to 64 letters, digits, '.', '_' or '-'"
        )
    return name


def printable(text: str) -> str:
    """Return ``text`` with control and text-direction characters replaced by visible escapes."""
    return _CONTROL.sub(lambda match: _escape(ord(match.group())), text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004


def shortened(text: str, most: int = LONGEST) -> str:
    """Return ``text``; if it is longer than ``most`` characters, cut it and say how many follow."""
    return text if len(text) <= most else f"{text[:most]} ... ({len(text) - most} characters more)"


def text_of(value: object) -> str:
    """Return the ``repr`` of a plugin's return value; its type if ``repr`` fails."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 (a plugin's __repr__ may raise anything)
        return f"a {type(value).__name__} that cannot be shown"


def error_text(error: BaseException) -> str:
    """Return the type of an error and its message; the type alone if there is no message."""
    words = words_of(error)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def words_of(error: BaseException) -> str:
    """Return the message of an error; an empty text if the error cannot be converted to text."""
    try:
        return str(error).strip()
    except Exception:  # noqa: BLE001 (a plugin's __str__ may raise anything)
        return ""


def counted(number: int, what: str) -> str:
    """Return ``1 trial``, ``2 launches``."""
    plural = f"{what}es" if what.endswith("ch") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"


def mebibytes(count: float | None) -> str:
    """Return a number of bytes as text in MiB; ``unknown`` for None."""
    return "unknown" if count is None else f"{count / 2**20:.0f} MiB"


def are(number: int) -> str:
    """Return the verb after a number: ``is`` or ``are``."""
    return "is" if number == 1 else "are"


def split_engine(engine: str) -> tuple[str, str | None]:
    """Return the backend and the variant of ``BACKEND:VARIANT``; None: no variant is named."""
    backend, colon, variant = engine.partition(":")
    return backend, variant if colon else None
