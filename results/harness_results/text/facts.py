"""Facts as lines of a terminal: a heading, then a name and a value on each, nested mappings with dotted names."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from harness_results.text.format import UNKNOWN, one_line

WIDTH = 80  # of facts that take several lines
NAME_WIDTH, MOST_NAME = 26, 44


def section(title: str, facts: Mapping[str, Any]) -> Iterator[Text]:
    """Yield a heading and one line per fact, those of nested mappings with dotted names."""
    if not facts:
        return
    yield Text("")
    yield Text(title, style="bold")
    yield from lines_of(facts)


def lines_of(facts: Mapping[str, Any]) -> Iterator[Text]:
    """Yield one line per fact, the values below each other and indented where one takes several lines."""
    known = [(name, one_line(_fact(value))) for name, value in _flat(facts)]
    indent = (
        max(NAME_WIDTH, min(MOST_NAME, max((cell_len(name) for name, _ in known), default=0))) + 3
    )
    for name, value in known:
        lines = textwrap.wrap(value, WIDTH - indent, break_long_words=False, break_on_hyphens=False)
        told = f"\n{' ' * indent}".join(lines)
        yield Text.assemble((f"  {name} ".ljust(indent), "dim"), told)


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
        return ", ".join(f"{name}={_fact(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ("; " if any(isinstance(one, Mapping) for one in value) else ", ").join(
            map(_fact, value)
        ) or UNKNOWN
    return UNKNOWN if value is None or value == "" else str(value)
