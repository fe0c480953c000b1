"""Numbers and other people's words as short, safe text. Knows no renderer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.contract.records.columns import Column
from harness.contract.wording import printable

UNKNOWN = "-"
_LEVELS = "▁▂▃▄▅▆▇█"
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_ASCII = str.maketrans({
    "✓": "*", "∇": "g", "≈": "=", "↓": "v", "↑": "^", "±": "~", "│": "|", "─": "-", "·": ";", "…": ".",
    "✗": "x", "→": ">", "≠": "!", "‖": "|", "∂": "d", "┤": "+", "└": "+",
} | dict(zip(_LEVELS, "_.,-=+*#", strict=True)))  # fmt: skip


def safe(text: object) -> str:
    """Return free text with control characters and lone surrogates made visible; lines and tabs are kept."""
    return printable(str(text)).encode("utf-8", "backslashreplace").decode("utf-8")


def one_line(text: object) -> str:
    """Return free text on one line, safe to show."""
    return " ".join(safe(text).split())


def to_ascii(text: str) -> str:
    """Return ``text`` for a terminal that has ASCII only."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def number(value: float | None, digits: int = 3) -> str:
    """Return three significant digits: ``0.167``, ``12.3``, ``4.1e-05``; an integer in full."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if isinstance(value, int) or value == 0:
        return str(int(value))
    if abs(value) >= 1e5 or abs(value) < 1e-3:  # noqa: PLR2004
        return f"{value:.{digits - 2}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def ratio(value: float) -> str:
    """Return a loss as a multiple of the baseline: ``0.97x``, ``0.004x``, ``499x``, ``1.2e+32x``."""
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
    """Return ``166k ±3%``: the median, and how far the interval's farther end is from it."""
    if median is None or low is None or high is None or median <= 0:
        return quantity(median)
    wider = max(median - low, high - median, 0.0) / median
    return (
        f"{quantity(median)} ±{max(1, math.ceil(100 * wider))}%"
        if wider < 1
        else f"{quantity(median)} ±>99%"
    )


def within(value: float, half: float) -> str:
    """Return ``1.20 ±0.31``: as many decimals as the interval's two first digits need, and at most four digits."""
    if not (math.isfinite(value) and math.isfinite(half)):
        return number(value)
    decimals = 1 - _magnitude(half) if half else 4
    decimals = max(0, min(decimals, 3 - _magnitude(value) if value else 3, 6))
    least = 10.0**-decimals
    median = f"{value:z.{decimals}f}"  # no -0.0
    return f"{median} ±{half:.{decimals}f}" if half >= least / 2 else f"{median} ±<{least:g}"


def _magnitude(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def count(value: int) -> str:
    """Return a whole number in full below a thousand, with a prefix above: ``310``, ``12.4k``."""
    return str(value) if abs(value) < 1000 else quantity(value)  # noqa: PLR2004


def sparkline(values: Sequence[float | None], width: int = 60, *, logarithmic: bool = False) -> str:
    """Return the series as a line of blocks, each the mean of its values; a gap where all are unknown.

    Args:
        values: (n,), None where not known.
        width: at most so many blocks.
        logarithmic: heights by order of magnitude.
    """
    heights = [
        _mean(_slice(values, index, width), logarithmic=logarithmic)
        for index in range(min(width, len(values)))
    ]
    known = [height for height in heights if height is not None]
    if not known:
        return ""
    low, span = min(known), max(known) - min(known)
    top = len(_LEVELS) - 1
    return "".join(
        " " if h is None else _LEVELS[round(top * (h - low) / span) if span else 0] for h in heights
    )


def bars(values: Sequence[float | None], top: float, width: int) -> str:
    """Return the series as blocks from 0 to ``top``, at most so many; a gap where nothing is known.

    Args:
        values: (n,), None where not known; what is above ``top`` is as high as that.
        top: the value of a full block.
        width: at most so many blocks, each the mean of its values.
    """
    heights = [
        _mean(_slice(values, index, width), logarithmic=False)
        for index in range(min(width, len(values)))
    ]
    return "".join(
        " " if height is None else _LEVELS[_level(height, top)] for height in heights
    ).rstrip()


def _level(height: float, top: float) -> int:
    part = max(0.0, min(1.0, height / top)) if top > 0 else 0.0
    return min(len(_LEVELS) - 1, int(part * len(_LEVELS)))


def _slice(values: Sequence[float | None], index: int, width: int) -> Sequence[float | None]:
    parts = min(width, len(values))
    return values[index * len(values) // parts : (index + 1) * len(values) // parts]


def _mean(values: Sequence[float | None], *, logarithmic: bool) -> float | None:
    known = [float(value) for value in values if value is not None and math.isfinite(value)]
    if logarithmic:
        known = [math.log10(value) for value in known if value > 0]
    return sum(value / len(known) for value in known) if known else None


def figure(column: Column, value: float | None) -> str:
    """Return a figure of a record in the unit of its column."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column.unit == "s":
        return seconds(value)
    if column.unit in ("tokens/s", "FLOP/s", "bytes"):
        return quantity(value)
    return str(value) if isinstance(value, int) else number(value, 4)
