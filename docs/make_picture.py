"""Draw README's picture from a store: how far gradients reach, and text that training improves.

Usage: ``python docs/make_picture.py STORE``, after ``harness run --store STORE`` and
``harness run -t adding --store STORE``.

The store needs a trained ``rnn`` and ``lstm`` of a task and length, for their gradient flow, and a
text network with samples over training. Two files are written, for wide and for narrow screens.
"""

from __future__ import annotations

import argparse
import math
import textwrap
from html import escape
from pathlib import Path

from harness.contract import Record
from harness_results.results import Results
from harness_results.study.samples import moments, texts_over_training

PICTURES = Path(__file__).resolve().parent / "pictures"
PANEL_WIDTH, PANEL_HEIGHT = 410, 340
LEFT, RIGHT, TOP, BOTTOM = 54, 64, 58, 44  # margins of the panel of gradient flow
DECADES = 8  # of the vertical axis
LINES, COLUMNS = 4, 50  # of each sample
STYLE = """
svg { font: 13px system-ui, sans-serif; fill: #222; }
.ground { fill: #fff; } .title { font-weight: 600; font-size: 15px; } .faint { fill: #666; }
.axis { stroke: #bbb; } .mark { stroke: #888; stroke-dasharray: 4 4; }
.flow { fill: none; stroke-width: 2.5; } .sample { font: 12px ui-monospace, monospace; }
.rnn { stroke: #d55e00; } .lstm { stroke: #0072b2; }
text.rnn { fill: #b84d00; stroke: none; } text.lstm { fill: #0072b2; stroke: none; }
@media (prefers-color-scheme: dark) {
svg { fill: #e6e6e6; } .ground { fill: #0d1117; } .faint { fill: #aaa; } .axis { stroke: #555; }
.rnn { stroke: #e69f00; } .lstm { stroke: #56b4e9; }
text.rnn { fill: #e69f00; } text.lstm { fill: #56b4e9; }
}
"""


def main() -> None:
    """Write the two files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("--task", default="adding", help="of the gradient flow [default: adding]")
    parser.add_argument("--length", type=int, default=50, help="of the flow [default: 50]")
    asked = parser.parse_args()
    records = Results.from_store(asked.store)
    flows = {
        record.trial.cell: relative_flow(record)
        for record in records.filter(task=asked.task, length=asked.length, status="ok")
        if record.trial.cell in {"rnn", "lstm"}
    }
    if set(flows) != {"rnn", "lstm"}:
        parser.error(f"the store has no trained rnn and lstm of {asked.task}, T = {asked.length}")
    network, samples = best_text(records)
    left, right = flow_panel(flows, asked.task), text_panel(network, samples)
    for name, side_by_side in (("first-wide.svg", True), ("first-narrow.svg", False)):
        (PICTURES / name).write_text(drawing(left, right, side_by_side), encoding="utf-8")


def relative_flow(record: Record) -> list[tuple[int, float]]:
    """Return the lags of a trained network, and the gradient there over the gradient at lag 0."""
    flow = record.curves["gradient_flow"]["final"]
    norms = flow["median"]
    return [(lag, norm / norms[0]) for lag, norm in zip(flow["lags"], norms, strict=True)]


def best_text(records: Results) -> tuple[str, list[tuple[int, str]]]:
    """Return the cell, steps and samples of the text network with the lowest validation loss."""
    best = min(
        (record for record in records if texts_over_training(record.details)),
        key=lambda record: float(record.figures["loss_validation"]),
    )
    return best.trial.cell, moments(best)


def flow_panel(flows: dict[str, list[tuple[int, float]]], task: str) -> str:
    """Return the panel of gradient flow, on a logarithmic axis of ``DECADES``."""
    last = max(lag for flow in flows.values() for lag, _ in flow)
    wide, high = PANEL_WIDTH - LEFT - RIGHT, PANEL_HEIGHT - TOP - BOTTOM

    def place(lag: float, share: float) -> tuple[float, float]:
        decades = min(-math.log10(share), DECADES) if share > 0 else DECADES
        return LEFT + wide * lag / last, TOP + high * max(decades, 0) / DECADES

    pieces = [
        text(16, 26, "How far back the gradient reaches", "title"),
        text(16, 44, f"after training on the task {task}; at lag 0 it is 1", "faint"),
    ]
    for decades in range(0, DECADES + 1, 2):
        x, y = place(0, 10.0**-decades)
        label = "1" if not decades else f"10<tspan dy='-5' font-size='9'>-{decades}</tspan>"
        pieces.append(
            f'<text x="{x - 8:.0f}" y="{y + 4:.0f}" text-anchor="end" class="faint">{label}</text>'
        )
        pieces.append(f'<path class="axis" d="M{x:.0f} {y:.0f}h{wide}"/>')
    for lag in (0, (last + 1) // 2, last + 1):
        x, y = place(lag, 0)
        pieces.append(text(x, y + 18, str(lag), "faint", "middle"))
    pieces.append(text(LEFT + wide / 2, PANEL_HEIGHT - 8, "time steps back", "faint", "middle"))
    x, y = place(0, 0.01)
    pieces.append(f'<path class="mark" d="M{x:.0f} {y:.0f}h{wide}"/>')
    pieces.append(text(x + wide + 6, y + 4, "1 %", "faint"))
    for cell, flow in flows.items():
        shown = [lag for lag, share in flow if share > 10.0**-DECADES]
        points = [place(lag, share) for lag, share in flow[: len(shown) + 1]]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        pieces.append(f'<polyline class="flow {cell}" points="{path}"/>')
        x, y = points[-1]
        pieces.append(text(x + 6, y - 5, cell.upper(), cell))
    return "\n".join(pieces)


def text_panel(cell: str, samples: list[tuple[int, str]]) -> str:
    """Return the panel of text: what the network writes at each moment of training."""
    pieces = [text(16, 26, f"What the {cell.upper()} writes", "title")]
    y = 50
    for step, sample in samples:
        pieces.append(text(16, y, f"after {step:,} training step{'s' * (step != 1)}", "faint"))
        for line in textwrap.wrap(" ".join(sample.split()), COLUMNS, break_on_hyphens=False)[
            :LINES
        ]:
            y += 16
            pieces.append(text(16, y, line, "sample"))
        y += 26
    return "\n".join(pieces)


def text(x: float, y: float, content: str, name: str, anchor: str = "start") -> str:
    """Return a line of text."""
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" class="{name}" text-anchor="{anchor}">'
        f"{escape(content)}</text>"
    )


def drawing(left: str, right: str, side_by_side: bool) -> str:
    """Return the file: both panels, beside or below each other."""
    columns, rows = (2, 1) if side_by_side else (1, 2)
    x, y = (PANEL_WIDTH, 0) if side_by_side else (0, PANEL_HEIGHT)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {columns * PANEL_WIDTH} '
        f'{rows * PANEL_HEIGHT}">\n<style>{STYLE}</style>\n'
        f'<rect class="ground" width="100%" height="100%"/>\n<g>\n{left}\n</g>\n'
        f'<g transform="translate({x} {y})">\n{right}\n</g>\n</svg>\n'
    )


if __name__ == "__main__":
    main()
