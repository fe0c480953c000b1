"""The kinds of values that options of a run take: each kind reads and checks one value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

LONGEST_SECONDS = 30 * 24 * 3600.0
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smh]?)")
_SECONDS_BY_UNIT = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT])(i?)B", re.IGNORECASE)
_LEAST_MEMORY_BYTES = 2**24  # less than any interpreter takes


def parse_duration(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``10m`` or ``2h``.

    Raises:
        ValueError: the text has another form.
    """
    match = DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("not a duration; write a number of seconds, or 90s, 10m or 2h")
    return float(match[1]) * _SECONDS_BY_UNIT[match[2]]


def parse_memory(text: str) -> int:
    """Return the bytes of ``500MB``, ``2GB`` or ``1.5GiB``.

    Raises:
        ValueError: the text has another form.
    """
    match = _MEMORY.fullmatch(text.strip())
    if match is None:
        raise ValueError("not an amount of memory; write 500MB, 2GB or 1.5GiB")
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** (1 + "KMGT".index(match[2].upper())))


@dataclass(frozen=True)
class Switch:
    """True or false."""

    def read(self, value: Any) -> bool:
        """Return the value if it is true or false."""
        if not isinstance(value, bool):
            raise ValueError("True or False")  # noqa: TRY004 (the caller reports it)
        return value


@dataclass(frozen=True)
class Whole:
    """A whole number from ``least`` to ``most``; None: no upper limit."""

    least: int
    most: int | None = None

    def read(self, value: Any) -> int:
        """Return the number if it is in range."""
        most = value if self.most is None else self.most
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if is_whole and self.least <= value <= most:
            return int(value)
        if self.most is None:
            raise ValueError(f"a whole number of at least {self.least}")
        raise ValueError(f"a whole number from {self.least} to {most}")


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def read(self, value: Any) -> str:
        """Return the word if it is allowed."""
        if value not in self.words:
            raise ValueError(f"one of {', '.join(self.words)}")
        return str(value)


@dataclass(frozen=True)
class Text:
    """Text, or a list whose values are joined by commas."""

    metavar: str

    def read(self, value: Any) -> str:
        """Return the text."""
        return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


@dataclass(frozen=True)
class Pairs:
    """``NAME=VALUE`` texts; in Python a mapping too."""

    metavar: str

    def read(self, value: Any) -> tuple[str, ...]:
        """Return the texts."""
        if isinstance(value, Mapping):
            return tuple(f"{name}={content}" for name, content in value.items())
        return (value,) if isinstance(value, str) else tuple(map(str, value))


@dataclass(frozen=True)
class Seconds:
    """A duration, as a number of seconds or as text; with ``or_zero`` also 0."""

    metavar: ClassVar[str] = "10m"
    or_zero: bool = False

    def read(self, value: Any) -> float:
        """Return the seconds if they are above 0 and at most 30 days."""
        seconds = parse_duration(value) if isinstance(value, str) else float(value)
        if self.or_zero and seconds == 0:
            return seconds
        if not 0 < seconds <= LONGEST_SECONDS:
            raise ValueError("not a duration between 0 and 30 days; write 90s, 10m or 2h")
        return seconds


@dataclass(frozen=True)
class Memory:
    """An amount of memory, as a number of bytes or as text."""

    metavar: ClassVar[str] = "2GB"

    def read(self, value: Any) -> int:
        """Return the bytes if they suffice for a process."""
        size = parse_memory(value) if isinstance(value, str) else int(value)
        if size < _LEAST_MEMORY_BYTES:
            raise ValueError("less than any launch takes; the least is 16MiB")
        return size


Kind = Switch | Whole | Choice | Text | Pairs | Seconds | Memory
