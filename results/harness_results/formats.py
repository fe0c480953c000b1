"""The formats of a report, offered as a plugin like any other."""

from __future__ import annotations

import io
from collections.abc import Sequence

from harness.contract import COLUMNS, Exporter, Record, hookimpl


class Markdown(Exporter):
    """The tables as Markdown."""

    name, suffixes = "markdown", (".md",)

    def export(self, records: Sequence[Record], *, per_seed: bool = False) -> str:
        """Return the tables."""
        from harness_results.render.markup import to_markdown

        return to_markdown(records, per_seed=per_seed)


class Latex(Exporter):
    """The tables as LaTeX, for a document that uses booktabs."""

    name, suffixes = "latex", (".tex",)

    def export(self, records: Sequence[Record], *, per_seed: bool = False) -> str:
        """Return the tables."""
        from harness_results.render.latex import to_latex

        return to_latex(records, per_seed=per_seed)


class Csv(Exporter):
    """A row for each trial, with the columns of a record."""

    name, suffixes = "csv", (".csv",)

    def export(self, records: Sequence[Record], *, per_seed: bool = False) -> str:
        """Return a header and the rows; there is always one for each seed."""
        from harness_results.render.flat import to_csv

        return to_csv(records)


class Json(Exporter):
    """One array, with an object for each network or trial."""

    name, suffixes = "json", (".json",)

    def export(self, records: Sequence[Record], *, per_seed: bool = False) -> str:
        """Return the array."""
        from harness_results.render.flat import to_json

        return to_json(records, self.name, per_seed=per_seed)


class JsonLines(Json):
    """An object for each network or trial, one per line."""

    name, suffixes = "jsonl", (".jsonl",)


class Parquet(Exporter):
    """A row for each trial, with typed columns."""

    name, suffixes = "parquet", (".parquet",)

    def export(self, records: Sequence[Record], *, per_seed: bool = False) -> bytes:
        """Return the file; there is always a row for each seed."""
        from harness_results.render.parquet import write_parquet

        file = io.BytesIO()
        write_parquet((record.columns() for record in records), file, COLUMNS)
        return file.getvalue()


class Page(Exporter):
    """One HTML file with tables, charts and samples."""

    name, suffixes, with_curves = "html", (".html",), True

    def export(self, records: Sequence[Record], *, per_seed: bool = False) -> str:
        """Return the page."""
        from harness_results.page.build import page

        return page(records, per_seed=per_seed)


@hookimpl
def harness_exporters() -> Sequence[Exporter]:
    """Offer the formats of ``harness report``."""
    return [Markdown(), Latex(), Csv(), Json(), JsonLines(), Parquet(), Page()]
