"""Samples of text in a few lines each, with their training steps."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from rich.text import Text

TEXT_LINES = 3  # of one sample
STEP_WIDTH, NARROWEST = 14, 20


def sample_lines(samples: Iterable[tuple[int, str]], width: int) -> Iterator[Text]:
    """Yield the lines of each sample below each other; white space and line ends are one space."""
    for step, text in samples:
        lines = textwrap.wrap(
            " ".join(text.split()),
            max(NARROWEST, width - STEP_WIDTH),
            max_lines=TEXT_LINES,
            placeholder=" …",
        )
        for number, line in enumerate(lines or [""]):
            name = "" if number else f"  step {step:,}"
            yield Text.assemble((f"{name:<{STEP_WIDTH}}", "dim"), line)
