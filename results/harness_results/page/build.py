"""One HTML file from records: template, style, scripts and Vega, all inlined. No connection is ever made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from harness.contract.errors import UnavailableError
from harness.contract.records.record import Record
from harness_results.text.format import one_line

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)
SCRIPTS = ("filter.js", "tables.js", "charts.js", "page.js")
FIX = 'pip install "rnn-harness[report]"'
MOST_SAMPLES = 40
MOST_ROWS = 100  # of a table, where scripts are not allowed
IN_SCRIPTS = ("title", "key", "thinned", "most", "spec", "columns")  # what they need of a chart
_ENDS = re.compile(r"<(/script|/style|!--)", re.IGNORECASE)


def page(records: Sequence[Record], title: str) -> str:
    """Return the page of these records, one per trial and with their curves.

    Args:
        records: at least one.
        title: what they are, as the names of their stores; free text.

    Raises:
        UnavailableError: jinja2, altair or vl-convert is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined

        vega = _vega()
    except ImportError as error:
        raise UnavailableError(
            f"a page needs {error.name}, which is not installed. Install it: {FIX}"
        ) from error
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {
        "separators": (",", ":"),
        "sort_keys": False,
        "allow_nan": False,
    }
    template = environment.from_string(_file("template.html.jinja"))
    return template.render(
        policy=POLICY,
        title=one_line(title),
        style=_inline(_file("page.css")),
        vega=vega,
        script=_inline("\n".join(map(_file, SCRIPTS))),
        **_content(list(records)),
    )


def _content(records: list[Record]) -> dict[str, Any]:
    from harness_results.page.content import reading, tables
    from harness_results.page.environments import environments, measured_between, warnings
    from harness_results.page.failures import MOST, failures
    from harness_results.page.figures import figures, schemes, without_data
    from harness_results.page.headline import contents, headline
    from harness_results.study.samples import texts, worth_showing

    shown, failed, samples = figures(records), failures(records), worth_showing(records)
    return {
        "contents": contents(records),
        "measured": measured_between(records),
        "warnings": warnings(records),
        "answers": headline(records),
        "axes": _axes(records),
        "figures": shown,
        "missing": without_data(shown),
        "failures": failed[:MOST],
        "failures_left_out": max(0, len(failed) - MOST),
        "samples": samples[:MOST_SAMPLES],
        "texts": texts,
        "samples_left_out": max(0, len(samples) - MOST_SAMPLES),
        "environments": environments(records),
        "reading": reading(records),
        "most_rows": MOST_ROWS,
        "data": {
            "tables": tables(records),
            "figures": {figure["name"]: {k: figure[k] for k in IN_SCRIPTS} for figure in shown},
            "schemes": schemes(),
            "trials": _trials(records),
            "marks": _marks(),
        },
    }


def _marks() -> dict[str, str]:
    from harness_results.study.tables.notes import LEGEND

    return LEGEND


def _axes(records: Sequence[Record]) -> dict[str, list[Any]]:
    """Return what the page is filtered by: the values of each axis, in order of appearance, lengths by size."""
    names = ("task", "cell", "backend", "variant")
    found: dict[str, list[Any]] = {
        name: list(dict.fromkeys(getattr(record.trial, name) for record in records))
        for name in names
    }
    return found | {"length": sorted({record.trial.length for record in records})}


def _trials(records: Sequence[Record]) -> list[list[Any]]:
    """Return how many trials there are of each task, cell, backend, variant and length: for the filter to count."""
    found: dict[tuple[Any, ...], int] = {}
    for trial in (record.trial for record in records):
        key = (trial.task, trial.cell, trial.backend, trial.variant, trial.length)
        found[key] = found.get(key, 0) + 1
    return [[*key, number] for key, number in found.items()]


@cache
def _vega() -> Any:
    """Return Vega, Vega-Lite and Vega-Embed as the code of one module; bundling it takes a second."""
    import vl_convert

    return _inline(vl_convert.javascript_bundle())  # type: ignore[call-arg]  # its stub lacks the default


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _inline(code: str) -> Any:
    """Return code or style of our own or of a library, which has no outside text, so that it cannot end its element."""
    from markupsafe import Markup

    return Markup(_ENDS.sub(r"<\\\1", code))  # noqa: S704
