"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

ALLOWED_VERDICTS = ("slower", "newly_failing", "missing")  # of ``compare --allow``

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


def output_option() -> Decorator:
    """Return ``--output``, the path of a file."""
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option("--output", "-o", type=path, help="Write to a file.")
