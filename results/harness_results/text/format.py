"""Numbers and untrusted words as short, safe text. Knows no renderer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.contract.records.columns import Column
from harness.contract.wording import printable

UNKNOWN = "-"
_LEVELS = "▁▂▃▄▅▆▇█"
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_ASCII = str.maketrans("✓∇≈↓↑±│─·…✗→≠‖∂┤└" + _LEVELS, "*g=v^~|-;.x>!|d++" + "_.,-=+*#")


def safe(text: object) -> str:
    """Return the text with control characters and lone surrogates escaped.

    Line ends and tabs are kept.
    """
    return printable(str(text)).encode("utf-8", "backslashreplace").decode("utf-8")


def one_line(text: object) -> str:
    """Return the text of ``safe`` on one line."""
    line = str(text)
    if line.isascii() and line.isprintable():  # as nearly all of millions are
        return " ".join(line.split()) if " " in line else line
    return " ".join(safe(line).split())


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return a value of unknown type if it is a mapping, otherwise an empty mapping."""
    return value if isinstance(value, Mapping) else {}


def to_ascii(text: str) -> str:
    """Return ``text`` for a terminal that shows ASCII only."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with ``digits`` significant digits; an integer in full.

    Examples: ``0.167``, ``12.3``, ``4.1e-05``.
    """
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if isinstance(value, int) or value == 0:
        return str(int(value))
    if abs(value) >= 1e5 or abs(value) < 1e-3:  # noqa: PLR2004
        return f"{value:.{digits - 2}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def ratio(value: float) -> str:
    """Return a loss as a multiple of the baseline: ``0.97x``, ``0.004x``, ``1.2e+32x``."""
    if not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0x"
    if 0 < value < 0.0005:  # noqa: PLR2004
        return "<0.001x"
    if value >= 100:  # noqa: PLR2004
        return f"{number(float(value))}x"
    return f"{value:.3f}x" if value < 0.01 else f"{value:.2f}x"  # noqa: PLR2004


def quantity(value: float | None) -> str:
    """Return three significant digits with a prefix: ``166k``, ``1.66M``, ``950``."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    for size, prefix in _PREFIXES:
        if float(f"{abs(value):.3g}") >= size:
            return f"{_three(value / size)}{prefix}"
    return _three(value)


def _three(value: float) -> str:
    return f"{value:#.3g}".rstrip(".") if abs(value) < 999.5 else f"{value:.0f}"  # noqa: PLR2004


def seconds(value: float | None) -> str:
    """Return a duration: ``12.3 ms``, ``1.5 s``."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if abs(value) >= size:
            return f"{number(value / size)} {unit}"
    return f"{number(value)} s"


def interval(median: float | None, low: float | None, high: float | None) -> str:
    """Return ``166k ±3%``: the median and the distance to the farther end of its interval."""
    if median is None or low is None or high is None or median <= 0:
        return quantity(median)
    distance = max(median - low, high - median, 0.0) / median
    percent = str(max(1, math.ceil(100 * distance))) if distance < 1 else ">99"
    return f"{quantity(median)} ±{percent}%"


def within(value: float, half: float) -> str:
    """Return a value with half the width of its interval: ``1.20 ±0.31``.

    There are enough decimals for two digits of ``half``, but ``value`` has at most four digits.
    """
    if not (math.isfinite(value) and math.isfinite(half)):
        return number(value)
    wanted = 1 - _magnitude(half) if half else 4
    most = 3 - _magnitude(value) if value else 3
    decimals = max(0, min(wanted, most, 6))
    least = 10.0**-decimals
    median = f"{value:z.{decimals}f}"  # no -0.0
    return f"{median} ±{half:.{decimals}f}" if half >= least / 2 else f"{median} ±<{least:g}"


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def count(value: int) -> str:
    """Return a whole number, in full below a thousand: ``310``, ``12.4k``."""
    return str(value) if abs(value) < 1000 else quantity(value)  # noqa: PLR2004


def sparkline(values: Sequence[float | None], width: int = 60, *, logarithmic: bool = False) -> str:
    """Return the series as a line of blocks between its lowest and its highest mean.

    Args:
        values: (n,); None: unknown.
        width: the largest number of blocks. A block shows the mean of its part of the values, and
            a space if all of them are unknown.
        logarithmic: heights by order of magnitude.
    """
    heights = _means(values, width, logarithmic=logarithmic)
    finite = [height for height in heights if height is not None]
    if not finite:
        return ""
    low, span = min(finite), max(finite) - min(finite)

    def level(height: float) -> int:
        return round((len(_LEVELS) - 1) * (height - low) / span) if span else 0

    return _blocks(heights, level)


def bars(values: Sequence[float | None], top: float, width: int) -> str:
    """Return the series as a line of blocks from 0 to ``top``.

    Args:
        values: (n,); None: unknown. A value above ``top`` is drawn as ``top``.
        top: the value of a full block.
        width: the largest number of blocks. A block shows the mean of its part of the values, and
            a space if all of them are unknown.
    """

    def level(height: float) -> int:
        part = max(0.0, min(1.0, height / top)) if top > 0 else 0.0
        return min(len(_LEVELS) - 1, int(part * len(_LEVELS)))

    return _blocks(_means(values, width), level).rstrip()


def _blocks(heights: Sequence[float | None], level: Callable[[float], int]) -> str:
    return "".join(" " if height is None else _LEVELS[level(height)] for height in heights)


def _means(
    values: Sequence[float | None], width: int, *, logarithmic: bool = False
) -> list[float | None]:
    """Return the mean of each of at most ``width`` parts; None: nothing in it is finite."""
    parts = min(width, len(values))
    means: list[float | None] = []
    for index in range(parts):
        part = values[index * len(values) // parts : (index + 1) * len(values) // parts]
        finite = [float(value) for value in part if value is not None and math.isfinite(value)]
        if logarithmic:
            finite = [math.log10(value) for value in finite if value > 0]
        means.append(sum(value / len(finite) for value in finite) if finite else None)
    return means


def figure(column: Column, value: float | None) -> str:
    """Return a figure of a record in the unit of its column."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column.unit == "s":
        return seconds(value)
    if column.unit in ("tokens/s", "FLOP/s", "bytes"):
        return quantity(value)
    return str(value) if isinstance(value, int) else number(value, 4)
