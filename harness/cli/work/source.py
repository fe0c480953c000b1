"""The code that is generated for a cell, as text."""

from __future__ import annotations

from harness.contract import UsageError
from harness.plugins import Plugins, query

GRAPH = "graph"  # what is derived from the step, before an engine makes code of it


def source_of(plugins: Plugins, wanted: str) -> str:
    """Return the code for ``CELL:LANGUAGE``; without a language, the derived graph.

    Raises:
        UsageError: no backend writes this language.
        UnsupportedError: there is none for this cell; the message says why.
    """
    name, _, language = wanted.partition(":")
    cell = plugins.cell(name)
    if language in {"", GRAPH}:
        from harness.recurrence import derive

        return f"{derive(cell).listing()}\n"
    for backend in plugins.backends.values():
        if language in backend.languages:
            return f"{query.source(backend, cell, language).rstrip()}\n"
    languages = [each for backend in plugins.backends.values() for each in backend.languages]
    choices = ", ".join(dict.fromkeys([GRAPH, *languages]))
    raise UsageError(f"no backend writes {language!r} for cell {name!r}: use one of {choices}")
