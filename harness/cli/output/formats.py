"""The formats of ``harness report``: the table, pictures, and those of exporters."""

from __future__ import annotations

import rich_click as click
from click.shell_completion import CompletionItem

from harness.contract.errors import UnknownNameError
from harness.plugins import load_plugins
from harness.plugins.declarations import BUILT_IN_FORMATS

TABLE, *PICTURES = BUILT_IN_FORMATS


class ReportFormat(click.ParamType[str]):
    """The table, a picture, or an exporter of an installed plugin."""

    name = "format"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name.

        Raises:
            UnknownNameError: no plugin offers it.
        """
        if value not in BUILT_IN_FORMATS and value not in (names := _names()):
            raise UnknownNameError("format", value, names, "harness list exporters")
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin so."""
        return [CompletionItem(name) for name in _names() if name.startswith(incomplete)]


def _names() -> list[str]:
    return [TABLE, *load_plugins().exporters, *PICTURES]
