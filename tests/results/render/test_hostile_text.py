"""Names and texts of others are shown and never interpreted, in any format."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from harness.cli.output.results import print_results, stdout_console
from harness.contract import Record, Trial
from harness_results.render.flat import FORMULA_STARTS, to_csv, to_json
from harness_results.render.latex import escaped, to_latex
from harness_results.render.markup import to_html, to_markdown
from harness_results.render.show import show_record
from harness_results.render.terminal import rich_table

TEXTS = (
    "</script><img src=x onerror=alert(1)>",
    "[bold]x[/bold]",
    "[/]",
    "[link=file:///etc/passwd]x[/link]",
    "\x1b[31mred",
    "\x1b]8;;http://x\x07x\x1b]8;;\x07",
    "\x9b31m",
    "=cmd()",
    "@SUM(1)",
    "+1",
    "-1",
    "\t=cmd()",
    "\r=cmd()",
    "\n=cmd()",
    r"\input{x}",
    r"\immediate\write18{ls}",
    "$x$",
    "a & b % c # d _ e ^ f ~ g",
    "} \\end{tabular}",
    "[2pt]",
    "*",
    "--",
    "?`",
    "a|b",
    "`code`",
    "| --- |",
    "# head",
    "<!-- x -->",
    "![x](y)",
    "[x](javascript:y)",
    "&lt;",
    "**b**",
    "\u202egnp",
    "\ud800",
    "a\r\nb",
    "a\x00b",
    "漢字",
    "\u200b",
    "\N{ZERO WIDTH JOINER}",
    '"',
    "'",
    ";",
    ",",
    "\\",
    "\\\\",
)
hostile = st.one_of(
    st.sampled_from(TEXTS), st.text(), st.lists(st.sampled_from(TEXTS), min_size=2).map("".join)
)


def records(text: str) -> list[Record]:
    """Return records with this text wherever a trial, a task or a machine can bring some."""
    asked = {"backend": "numpy", "variant": "loop", "task": "char", "cell": "lstm"}
    details = {
        "flags": [text], "notes": [text], "samples": [{"temperature": 0.5, "text": text}],
        "log_tail": text, "task": {"corpus": text, "ngram_losses": {text: 2.0}}, "deviation": text,
        "attempts": [{"status": text, "reason": text}],
    }  # fmt: skip
    origin = {
        "environment_id": text,
        "environment": {"cpu": {"model": text}, "system": {"name": text}},
        "started_at": text,
    }
    figures = {"loss_validation": 1.0, "tokens_per_second": 1e3, "parity_error": 0.0}
    return [
        Record(
            Trial(**asked, length=50, task_options={"corpus": text}),
            "ok",
            None,
            figures,
            {},
            details,
            **origin,
        ),
        Record(
            Trial(**asked, length=50, task_options={"corpus": "x"}),
            "failed",
            text,
            environment_id="other",
        ),
    ]


def printed(renderable) -> str:
    file = io.StringIO()
    Console(file=file, width=120, force_terminal=True, color_system=None).print(renderable)
    return file.getvalue()


def controls(text: str) -> set[str]:
    return set(
        re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    )


@settings(max_examples=60, deadline=None)
@given(hostile)
@pytest.mark.slow
def test_nothing_moves_the_cursor_or_changes_a_colour(text):
    hostile = records(text)
    for shown in (
        printed(rich_table(hostile)),
        to_markdown(hostile),
        to_latex(hostile),
        to_html(hostile),
    ):
        assert not controls(shown)
    for record in hostile:
        assert not controls(printed(show_record(record))) - {"\t"}


@pytest.mark.parametrize("text", ["[bold]x[/bold]", "[/]", "[link=file:///etc/passwd]x[/link]"])
def test_markup_of_the_terminals_library_is_shown_as_it_stands(text):
    assert printed(rich_table(records(text))).count(text) > 3
    assert printed(show_record(records(text)[0])).count(text) > 3


@settings(max_examples=100, deadline=None)
@given(hostile)
def test_no_cell_of_a_spreadsheet_is_a_formula_and_every_record_is_one_row(text):
    written = to_csv(records(text))
    assert not controls(written) - {"\t", "\r"}
    rows = list(csv.reader(io.StringIO(written, newline="")))
    assert [len(row) for row in rows] == [len(rows[0])] * 3
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(FORMULA_STARTS) or re.fullmatch(r"-[\d.e+-]+", cell)


@settings(max_examples=100, deadline=None)
@given(hostile)
def test_json_keeps_every_text_as_it_is_in_ascii(text):
    written = to_json(records(text))
    assert written.isascii()
    rows = json.loads(written)
    assert json.loads(rows[0]["settings"])["task_options"] == {"corpus": text}
    assert rows[1]["reason"] == text


@pytest.mark.parametrize(
    "odd", [True, 3, "x", [None], [{}], {"a": 1}, {"a": None}, {"a": [1.0]}, [[1]], [{"text": 1}]]
)
@pytest.mark.parametrize(
    "name", ["samples", "task", "ngram_losses", "flags", "notes", "attempts", "log_tail"]
)
def test_odd_facts_of_a_plugin_or_a_foreign_store_cost_no_report(name, odd, capsys):
    details = {"task": {name: odd}} if name == "ngram_losses" else {name: odd}
    odd_records = [replace(record, details=details) for record in records("x")]
    print_results(odd_records, stdout_console())
    assert "lstm" in capsys.readouterr().out
    for shown in (
        to_markdown(odd_records),
        to_latex(odd_records),
        to_html(odd_records),
        to_csv(odd_records),
        printed(show_record(odd_records[0])),
    ):
        assert "lstm" in shown


def without_escapes(latex: str) -> str:
    return re.sub(r"\\[{}$&#%_]", "", latex)


@settings(max_examples=200, deadline=None)
@given(hostile)
def test_latex_has_no_command_but_those_that_write_a_sign(text):
    written = escaped(text)
    commands = set(re.findall(r"\\[A-Za-z]+|\\[^A-Za-z]", written))
    signs = {
        "textbackslash",
        "textasciitilde",
        "textasciicircum",
        "textasciigrave",
        "char",
        "ldots",
        "surd",
        "approx",
        "downarrow",
        "uparrow",
        "pm",
        "nabla",
        "cdot",
        "neq",
        "to",
        "partial",
        "infty",
        "leq",
        "geq",
        "vert",
    }
    assert commands <= {f"\\{name}" for name in signs} | {f"\\{sign}" for sign in "{}$&#%_|"}
    bare = without_escapes(written)
    assert not re.search(r"[&#%_^~`]|--|''|,,|^[\[*]", bare)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert "\n" not in written


@settings(max_examples=60, deadline=None)
@given(hostile)
def test_a_latex_table_keeps_its_rows_and_columns(text):
    lines = to_latex(records(text)).splitlines()
    rows = [without_escapes(line) for line in lines if line.endswith(r" \\")]
    assert len({row.count("&") for row in rows if "multicolumn" not in row}) == 1
    assert sum(line.startswith(r"\end{tabular}") for line in lines) == 1
    assert not any("write18" in line and r"\write" in line for line in lines)


@settings(max_examples=60, deadline=None)
@given(hostile)
def test_a_markdown_table_keeps_its_rows_and_columns_and_has_no_html(text):
    written = to_markdown(records(text))
    rows = [re.sub(r"\\.", "", line) for line in written.splitlines() if line.startswith("|")]
    assert len(rows) == 4  # names, rule, two networks
    assert len({row.count("|") for row in rows}) == 1
    bare = re.sub(r"\\.", "", written)
    assert "<" not in bare
    assert "`" not in bare
    assert not re.search(r"\[[^\]]*\]\(", bare)


@settings(max_examples=60, deadline=None)
@given(hostile)
def test_html_has_no_tag_but_its_own(text):
    tags = set(re.findall(r"<\s*/?\s*([^\s>]*)", to_html(records(text))))
    assert tags <= {
        "div",
        "h3",
        "h4",
        "p",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "ul",
        "li",
        "strong",
    }
