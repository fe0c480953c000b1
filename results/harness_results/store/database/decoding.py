"""Decodes stored text and bytes, and refuses values that this program never writes."""

from __future__ import annotations

import json
import zlib
from datetime import datetime
from typing import Any, TypeVar

MOST_BYTES = 2**28  # of one value: more than the curves of ten million training steps
MOST_LEVELS = 50
# A value above LARGE_BYTES may be at most MOST_TIMES its packed size. Curves shrink about tenfold.
LARGE_BYTES, MOST_TIMES = 2**24, 100
FEW_BRACKETS = 200  # a text with at most this many is not checked for depth
_WORDS: dict[type, str] = {str: "text", int: "a whole number"}
Kind = TypeVar("Kind")


class DamagedError(ValueError):
    """A stored value was altered after it was written."""


def from_json(text: Any, kind: type | None = None) -> Any:
    """Return the value of JSON in a text column.

    Args:
        text: as the database gives it.
        kind: the required type, such as ``dict``; None: any.

    Raises:
        DamagedError: it is not JSON of that type, is too large or too deep, or holds NaN or an
            infinity.
    """
    if len(as_kind(text, str)) > MOST_BYTES:
        raise DamagedError(
            f"it has {len(text):,} characters, more than the {MOST_BYTES:,} that are read"
        )
    try:
        value = json.loads(text, parse_constant=_refused)
    except RecursionError:
        raise DamagedError("its JSON is too deep") from None
    except ValueError as error:
        raise DamagedError(str(error)) from error
    if text.count("[") + text.count("{") > FEW_BRACKETS:
        _check_levels(value)
    if kind is not None and not isinstance(value, kind):
        raise DamagedError(f"expected {kind.__name__} in JSON, got {type(value).__name__}")
    return value


def from_packed(content: Any) -> Any:
    """Return the value of compressed JSON in a binary column.

    Raises:
        DamagedError: it is damaged, or too large.
    """
    if not isinstance(content, bytes | memoryview):
        raise DamagedError(f"expected bytes, got {type(content).__name__}")
    unpacker = zlib.decompressobj()
    most = min(MOST_BYTES, max(LARGE_BYTES, MOST_TIMES * len(content)))
    try:
        text = unpacker.decompress(content, most).decode("ascii")
    except (zlib.error, UnicodeDecodeError) as error:
        raise DamagedError(str(error)) from error
    if unpacker.unconsumed_tail:
        raise DamagedError(
            f"it unpacks to more than {most:,} bytes, which no curve of its size does"
        )
    if not unpacker.eof:
        raise DamagedError("its end is missing")
    return from_json(text)


def as_kind(value: Any, kind: type[Kind]) -> Kind:
    """Return the value unchanged.

    Raises:
        DamagedError: it has another type.
    """
    if not isinstance(value, kind):
        raise DamagedError(f"expected {_WORDS[kind]}, got {type(value).__name__}")
    return value


def as_moment(value: Any) -> str:
    """Return a moment in ISO 8601 unchanged.

    Raises:
        DamagedError: it is not a moment in ISO 8601.
    """
    try:
        datetime.fromisoformat(as_kind(value, str))
    except ValueError as error:
        raise DamagedError(str(error)) from error
    return str(value)


def _refused(word: str) -> None:
    raise DamagedError(f"its JSON holds {word}")


def _check_levels(value: Any) -> None:
    level = [value]
    for _ in range(MOST_LEVELS):
        below: list[Any] = []
        for outer in level:
            parts = outer.values() if isinstance(outer, dict) else outer
            below += [part for part in parts if isinstance(part, dict | list)]
        if not below:
            return
        level = below
    raise DamagedError("its JSON is too deep")
