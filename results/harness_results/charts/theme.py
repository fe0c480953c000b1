"""How charts look: colours for colour-blind readers, dashes, shapes; light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# The colours of Okabe and Ito, but grey for their black and without their yellow: those two have
# too little contrast on dark and on white.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8A8A8A")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 4])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
NEUTRAL = "#7A7A7A"  # of references; readable on white and on black
FONT = "Helvetica, Arial, Liberation Sans, sans-serif"
INK = {"light": "#1A1A1A", "dark": "#E8E8E8"}
PAPER = {"light": "#FFFFFF", "dark": "#16181C"}
GRID = {"light": "#E2E2E2", "dark": "#33373E"}


@dataclass(frozen=True)
class Look:
    """How one of several names is drawn."""

    colour: str
    dash: list[int]
    shape: str


def looks(names: Sequence[str]) -> list[Look]:
    """Return one look per name; the first 210 differ, neighbours in colour, dash and shape."""
    return [
        Look(OKABE_ITO[n % len(OKABE_ITO)], DASHES[n % len(DASHES)], SHAPES[n % len(SHAPES)])
        for n in range(len(names))
    ]


def config(scheme: str = "light") -> dict[str, Any]:
    """Return the configuration of a Vega-Lite specification for a ``light`` or ``dark`` page."""
    ink, paper, grid = INK[scheme], PAPER[scheme], GRID[scheme]
    words = {
        "labelColor": ink,
        "titleColor": ink,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    axis = {"gridColor": grid, "domainColor": ink, "tickColor": ink, "labelOverlap": "greedy"}
    legend = {"orient": "bottom", "symbolSize": 90, "symbolStrokeWidth": 2, "labelLimit": 220}
    header = {"labelFontSize": 12, "labelFontWeight": "bold", "labelLimit": 330}
    return {
        "background": paper,
        "font": FONT,
        "padding": 10,
        "view": {"stroke": grid},
        "axis": words | axis,
        "legend": words | legend,
        "header": words | header,
        "title": {
            "color": ink,
            "subtitleColor": ink,
            "fontSize": 15,
            "subtitleFontSize": 11,
            "anchor": "start",
        },
        "text": {"color": ink, "fontSize": 10},
    }
