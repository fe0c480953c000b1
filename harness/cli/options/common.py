"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

ALLOWED_VERDICTS = ("slower", "worse", "newly_failing", "missing")  # of ``compare --allow``

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def format_option(*choices: str) -> Decorator:
    """Return ``--format``, passed as ``format_``; the first choice is the default."""
    return click.option(
        "--format",
        "-f",
        "format_",
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
    )


def per_seed_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--per-seed``, the same for every verb that shows results."""
    text = "A row and a line for each seed, instead of the median over seeds."
    return click.option("--per-seed", is_flag=True, help=text)(function)


def output_option() -> Decorator:
    """Return ``--output``, the path of a file."""
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option("--output", "-o", type=path, help="Write to a file.")
