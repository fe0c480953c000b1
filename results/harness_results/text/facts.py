"""Facts as lines for a terminal: one name and value per line, nested mappings with dotted names."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from harness_results.text.format import UNKNOWN, one_line

WIDTH = 80  # of a fact that wraps over several lines
NAME_WIDTH, MOST_NAME = 26, 44


def section(title: str, facts: Mapping[str, Any]) -> Iterator[Text]:
    """Yield a heading and one line per fact; nothing if there are no facts."""
    if not facts:
        return
    yield Text("")
    yield Text(title, style="bold")
    yield from lines_of(facts)


def lines_of(facts: Mapping[str, Any]) -> Iterator[Text]:
    """Yield one line per fact, with the values aligned; a long value wraps."""
    pairs = [(name, one_line(_fact(value))) for name, value in _flat(facts)]
    longest = max((cell_len(name) for name, _ in pairs), default=0)
    indent = max(NAME_WIDTH, min(MOST_NAME, longest)) + 3
    for name, value in pairs:
        lines = textwrap.wrap(value, WIDTH - indent, break_long_words=False, break_on_hyphens=False)
        text = f"\n{' ' * indent}".join(lines)
        yield Text.assemble((f"  {name} ".ljust(indent), "dim"), text)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        name = f"{prefix}{one_line(key)}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _fact(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_fact(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        separator = "; " if any(isinstance(item, Mapping) for item in value) else ", "
        return separator.join(map(_fact, value)) or UNKNOWN
    return UNKNOWN if value is None or value == "" else str(value)
