"""The outcome of a run in Python: a sequence of records that shows itself as a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from harness.contract.errors import UnavailableError, UnknownNameError, UsageError
from harness.contract.records.columns import COLUMNS, FIGURES, TABLE
from harness.contract.records.record import Record
from harness_results.charts import FIX

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

    from harness_results.render.terminal import ReportTables
    from harness_results.study.scaling import Scaling

TYPES = {bool: "boolean", int: "Int64", float: "float64"}  # of pandas; each has a missing value


class Results(Sequence[Record]):
    """Records in the order in which they were made."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records = tuple(records)

    @classmethod
    def from_store(cls, location: str | Path, run: int | str | None = None) -> Results:
        """Return what ``harness report`` shows of a store, or of one of its runs, with curves.

        That is one record per trial and environment, from the latest run there. Of several launches
        it holds the medians.

        Args:
            location: a path or URL.
            run: a number, ``last`` or ``last~1``; None: all runs.

        Raises:
            StoreError: the store cannot be read.
            UsageError: it has no such run.
        """
        from harness_results.store.store import Store
        from harness_results.study.reported import reported

        with Store.open(location, create=False) as store:
            return cls(reported(store, store.run_named(None if run is None else str(run))))

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> Results: ...

    def __getitem__(self, index: int | slice) -> Record | Results:
        return Results(self.records[index]) if isinstance(index, slice) else self.records[index]

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def filter(self, **columns: Any) -> Results:
        """Return the records whose columns have these values, or any of several.

        Raises:
            UnknownNameError: a record has no such column.
        """
        for name in columns:
            if name not in COLUMNS:
                raise UnknownNameError("column", name, COLUMNS)
        return Results(record for record in self.records if _matches(record.columns(), columns))

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat mapping per record with exactly the columns of a record."""
        return [record.columns() for record in self.records]

    def to_pandas(self) -> pd.DataFrame:
        """Return a data frame of the columns; unknown figures are NaN.

        Raises:
            UnavailableError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise UnavailableError(
                f"a data frame needs pandas, which is not installed. Install it: {FIX}"
            ) from error
        frame = pd.DataFrame(self.rows(), columns=list(COLUMNS))
        readings = [column for column in TABLE if column.group == "reading"]
        types = {column.name: column.type for column in (*FIGURES, *readings)}
        return frame.astype({name: TYPES[type_] for name, type_ in types.items() if type_ in TYPES})

    def over_seeds(self) -> Results:
        """Return one record of medians for the seeds of each network; see docs/reading.md.

        A record of several seeds has them as ``members``, and ``losses``, ``loss_spread``
        and ``solved``.
        """
        from harness_results.study.seeds.summary import over_seeds

        return Results(over_seeds(self.records))

    def scaling(self) -> list[Scaling]:
        """Return how the time of a step grows with T, for each network and engine."""
        from harness_results.study.scaling import scaling

        return scaling(self.records)

    def table(self, *, per_seed: bool = False) -> ReportTables:
        """Return the tables as a Rich renderable; ``per_seed``: with a row for each seed."""
        from harness_results.render.terminal import rich_table

        return rich_table(self.records, per_seed=per_seed)

    def chart(self, name: str, scheme: str = "light", *, per_seed: bool = False) -> alt.FacetChart:
        """Return a chart, such as ``throughput``, as an altair object; see docs/charts.md.

        Args:
            name: of the chart.
            scheme: ``light`` or ``dark``.
            per_seed: a line for each seed, instead of the median over seeds with a band.

        Raises:
            UnavailableError: altair is not installed.
            UnknownNameError: there is no such chart.
            UsageError: no record has what the chart needs.
        """
        from harness_results.charts import chart_of

        return chart_of(self.records, name, scheme, per_seed=per_seed)

    def to_json(self, *, per_seed: bool = False) -> str:
        """Return a JSON array, as ``harness report -f json``; ``per_seed``: an object per trial."""
        from harness_results.render.flat import to_json

        return to_json(self.records, per_seed=per_seed)

    def to_csv(self) -> str:
        """Return the columns of each trial as CSV with a header."""
        from harness_results.render.flat import to_csv

        return to_csv(self.records)

    def to_latex(self, *, per_seed: bool = False) -> str:
        """Return the tables as LaTeX, for a document that uses booktabs."""
        from harness_results.render.latex import to_latex

        return to_latex(self.records, per_seed=per_seed)

    def to_markdown(self, *, per_seed: bool = False) -> str:
        """Return the tables as markdown."""
        from harness_results.render.markup import to_markdown

        return to_markdown(self.records, per_seed=per_seed)

    def export(self, name: str, *, per_seed: bool = False) -> str | bytes:
        """Return what an exporter makes, as ``harness report -f NAME`` writes it.

        Args:
            name: of the exporter (``harness list exporters``).
            per_seed: a row for each seed, in a format that may have medians.

        Raises:
            UnknownNameError: no plugin offers it.
            PluginError: it failed.
            UsageError: there is no record.
        """
        from harness.plugins import load_plugins
        from harness.plugins.exporting import exported

        if not self.records:
            raise UsageError("an export needs a record, and there is none")
        plugins = load_plugins()
        exporter, label = plugins.exporter(name), plugins.label("exporter", name)
        return exported(exporter, self.records, label, per_seed=per_seed)

    def page(self, title: str | None = None, *, per_seed: bool = False) -> str:
        """Return the page: one HTML file with tables, charts and samples; see docs/page.md.

        Args:
            title: any text; None names the cells, tasks and lengths.
            per_seed: rows and lines for each seed, instead of medians over seeds.

        Raises:
            UnavailableError: a library that the page needs is not installed.
            UsageError: there is no record.
        """
        from harness_results.page.build import page

        if not self.records:
            raise UsageError("a page needs a record, and there is none")
        return page(self.records, title, per_seed=per_seed)

    def __repr__(self) -> str:
        from harness_results.render.terminal import plain_table

        return plain_table(self.records) if self.records else "Results()"

    def _repr_html_(self) -> str:
        from harness_results.render.markup import to_html

        return to_html(self.records)


def _matches(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    several = (list, tuple, set, frozenset)
    return all(
        row[name] in value if isinstance(value, several) else row[name] == value
        for name, value in wanted.items()
    )
