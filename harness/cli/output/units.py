"""What hidden units respond to, for a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.cells import cell_len
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.text import Text

from harness.contract.wording import printable
from harness.hidden_units.units import UnitStudy
from harness.hidden_units.view import HEADER, INK, LEVELS, NOTES, View, colour
from harness_results.text.format import number, to_ascii
from harness_results.text.grid import Grid
from harness_results.text.lines import grid_lines


def print_units(view: View, console: Console) -> None:
    """Print the table of units, then a part of the text coloured by one unit.

    Without colours, digits below the text show the values.
    """
    for line in [*grid_lines(_grid(view), console.width), *_part(view, console)]:
        if console.options.ascii_only:
            line.plain = to_ascii(line.plain)
        console.print(line)


def as_json(study: UnitStudy, view: View) -> dict[str, Any]:
    """Return what ``print_units`` prints, with the exact values of the part of the text."""
    excerpt = {
        "unit": view.unit,
        "class": view.class_name,
        "start": view.start,
        "text": view.text,
        "values": view.values.tolist(),
    }
    return {
        "trial_id": study.trial.trial_id,
        "source": study.source,
        "characters": len(study.text),
        "skipped": study.skipped,
        "units": len(study.names),
        "classes": [asdict(score) for score in view.scores],
        "excerpt": None if view.unit is None else excerpt,
    }


def _grid(view: View) -> Grid:
    rows = [row for score in view.scores for row in score.rows()]
    return Grid(
        view.title,
        HEADER[:2],
        HEADER[2:],
        tuple((row[:2], row[2:]) for row in rows),
        (view.size, *NOTES, *view.remarks()),
    )


def _part(view: View, console: Console) -> Iterator[Text]:
    if view.unit is None:
        return
    where = f"characters {view.start + 1:,} to {view.start + len(view.text):,}"
    where += f", for {view.class_name}" if view.class_name else ""
    yield Text.assemble((f"unit {view.unit}", "bold"), f"   {where}")
    coloured = console.color_system is not None and not console.no_color
    bounds = f"low {number(view.low)} ", f" high {number(view.high)}"
    if coloured:
        scale = [(" ", _style(level)) for level in range(LEVELS)]
        yield Text.assemble(bounds[0], *scale, bounds[1])
    else:
        yield Text(f"digits: 0 {bounds[0]}to {LEVELS - 1}{bounds[1]}")
    for row in _wrapped(view.text, view.levels, console.width):
        if coloured:
            yield Text.assemble(*((glyph, _style(level)) for glyph, level in row))
        else:
            yield Text("".join(glyph for glyph, _ in row))
            yield Text("".join(str(level).ljust(cell_len(glyph)) for glyph, level in row))


def _wrapped(text: str, levels: Sequence[int], width: int) -> Iterator[list[tuple[str, int]]]:
    """Yield the rows of a text: each character as a visible glyph with its level."""
    row: list[tuple[str, int]] = []
    used = 0
    for character, level in zip(text, levels, strict=True):
        glyph = _glyph(character)
        if used + cell_len(glyph) > width:
            yield row
            row, used = [], 0
        row.append((glyph, level))
        used += cell_len(glyph)
        if character == "\n":
            yield row
            row, used = [], 0
    if row:
        yield row


def _glyph(character: str) -> str:
    if character == "\n":
        return "↵"
    if printable(character) != character or character == "\t" or cell_len(character) == 0:
        return "·"
    return character


def _style(level: int) -> Style:
    return Style(color=Color.from_rgb(*INK), bgcolor=Color.from_rgb(*colour(level)))
