"""The argument that names a stored trial."""

from __future__ import annotations

import rich_click as click


def not_empty(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Return the id as given.

    Raises:
        UsageError: it is empty, and would match every trial.
    """
    if not value.strip():
        raise click.UsageError(
            "the trial's id is empty: give its first digits; `harness report -f csv` lists them"
        )
    return value
