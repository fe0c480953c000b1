"""Terminal, Markdown, LaTeX and HTML show the same texts: the numbers of the JSON rows."""

import html
import json
import re

import pytest

from harness.contract import Record, Trial
from harness_results.page.content import tables
from harness_results.render.flat import to_json
from harness_results.render.latex import MATHS, WORDS, to_latex
from harness_results.render.markup import to_html, to_markdown
from harness_results.render.terminal import plain_table
from harness_results.text.format import interval, number, ratio

LENGTHS = (50, 100, 200)
LATEX = {**WORDS, **{sign: f"${command}$" for sign, command in MATHS.items()}}


def make(engine: str, cell: str, length: int, index: int) -> Record:
    """Return a record: solved or at the baseline by index, one failed, one without proof."""
    backend, variant = engine.split(":")
    trial = Trial(backend=backend, variant=variant, task="adding", cell=cell, length=length)
    loss = (1.9e-4, 0.0707, 0.1666)[index % 3]
    speed = 123_456.0 * (1 + index) / length
    figures = {
        "loss_validation": loss, "loss_baseline": 1 / 6, "loss_ratio": 6 * loss, "loss_floor": 0.0,
        "solved": loss < 1e-3, "tokens_per_second": speed, "tokens_per_second_low": 0.91 * speed,
        "tokens_per_second_high": 1.04 * speed, "step_seconds_median": length * 31e-6,
        "gradient_norm_median": 0.1234 * (1 + index), "gradient_horizon": 7 + 11 * index,
        "gradient_decay": 1.2 if index == 4 else 0.9,
        "parity_error": None if index == 5 else 3.2e-7,
    }  # fmt: skip
    if index == 7:
        return Record(trial, "out_of_memory", "peak 3.1 GB of 2 GB", environment_id="e1")
    details = {"gradient_horizon_censored": index == 1}
    return Record(trial, "ok", figures=figures, details=details, environment_id="e1")


def records() -> list[Record]:
    keys = [
        (e, c, n)
        for e in ("numpy:native", "torch:library")
        for c in ("rnn", "lstm")
        for n in LENGTHS
    ]
    return [make(*key, index) for index, key in enumerate(keys)]


def expected() -> dict[tuple[str, str], list[str]]:
    """Return (cell, engine) -> the texts of all lengths, made from the JSON rows alone."""
    texts_by_row: dict[tuple[str, str], list[str]] = {}
    for row in json.loads(to_json(records())):
        texts = texts_by_row.setdefault((row["cell"], f"{row['backend']}:{row['variant']}"), [])
        if row["status"] != "ok":
            texts += [row["status"].replace("_", " "), "-", "-", "-"]
            continue
        bounds = (
            row["tokens_per_second"],
            row["tokens_per_second_low"],
            row["tokens_per_second_high"],
        )
        horizon = f"{'>' * row['gradient_horizon_censored']}{row['gradient_horizon']}"
        loss = f"{number(row['loss_validation'])} ({ratio(row['loss_ratio'])})"
        texts += [loss, interval(*bounds), number(row["gradient_norm_median"]), horizon]
    return texts_by_row


def read_terminal(text: str) -> dict[tuple[str, str], list[str]]:
    texts_by_row: dict[tuple[str, str], list[str]] = {}
    cell = ""
    for line in text.splitlines():
        labels, *groups = line.split(" │ ")
        words = labels.split()
        if groups and words and ":" in words[-1]:
            cell = words[0] if len(words) == 2 else cell
            texts = [part for group in groups[1:] for part in re.split(r" {2,}", group.strip())]
            texts_by_row[cell, words[-1]] = texts
    return texts_by_row


def read_cells(rows: list[list[str]]) -> dict[tuple[str, str], list[str]]:
    texts_by_row: dict[tuple[str, str], list[str]] = {}
    cell = ""
    for row in rows:
        if len(row) > 2 and ":" in row[1] and "=" not in row[1]:
            cell = row[0] or cell
            texts_by_row.setdefault((cell, row[1]), []).extend(row[2:])
    return texts_by_row


def read_markdown(text: str) -> dict[tuple[str, str], list[str]]:
    rows = [
        re.split(r" (?<!\\)\| ", line.strip("| "))
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    return read_cells(
        [[re.sub(r"\\(.)", r"\1", cell.replace("**", "")) for cell in row] for row in rows]
    )


def read_latex(text: str) -> dict[tuple[str, str], list[str]]:
    rows = [
        line.removesuffix(r" \\").split(" & ") for line in text.splitlines() if line.endswith(r"\\")
    ]
    plain = []
    for row in rows:
        cells = [re.sub(r"^\\textbf\{(.*)\}$", r"\1", cell.strip()) for cell in row]
        for sign, command in LATEX.items():
            cells = [cell.replace(command, sign) for cell in cells]
        plain.append(cells)
    return read_cells(plain)


def read_html(text: str) -> dict[tuple[str, str], list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    cells = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in rows]
    return read_cells(
        [[html.unescape(re.sub(r"<.*?>", "", cell)) for cell in row] for row in cells]
    )


def read_page(table: dict) -> dict[tuple[str, str], list[str]]:
    """Read a table as the page has it: a text, or a text, its tone and its mark."""
    rows = [
        [*row["labels"], *(cell for cells in row["cells"] for cell in cells)]
        for row in table["rows"]
    ]
    return read_cells(
        [
            [cell if isinstance(cell, str) else f"{cell[0]} {cell[2]}".rstrip() for cell in row]
            for row in rows
        ]
    )


def without_marks(
    texts_by_row: dict[tuple[str, str], list[str]],
) -> dict[tuple[str, str], list[str]]:
    return {
        row: [re.sub(r" [✓≈↓↑?≠]$", "", text) for text in texts]
        for row, texts in texts_by_row.items()
    }


def first_table(text: str, end: str) -> str:
    return text.partition(end)[0]


SHOWN = {
    "terminal": lambda: read_terminal(first_table(plain_table(records(), 400), "\n\n")),
    "markdown": lambda: read_markdown(first_table(to_markdown(records()), "\n- ")),
    "latex": lambda: read_latex(first_table(to_latex(records()), r"\end{tabular}")),
    "html": lambda: read_html(first_table(to_html(records()), "</table>")),
    "page": lambda: read_page(tables(records())[0]),
}


@pytest.mark.parametrize("format_", SHOWN)
def test_a_format_shows_the_numbers_of_the_json_rows(format_):
    assert without_marks(SHOWN[format_]()) == expected()


@pytest.mark.parametrize("format_", ["markdown", "latex", "html", "page"])
def test_a_format_has_the_marks_of_the_terminal(format_):
    assert SHOWN[format_]() == SHOWN["terminal"]()


def test_the_records_have_every_mark():
    text = plain_table(records(), 400)
    assert {mark for mark in "✓≈↓↑?" if mark in text} == set("✓≈↓↑?")


@pytest.mark.parametrize("width", [80, 160])
def test_the_golden_table(width, snapshot):
    assert plain_table(records(), width) == snapshot


@pytest.mark.parametrize("write", [to_markdown, to_latex], ids=["markdown", "latex"])
def test_the_golden_text(write, snapshot):
    assert write(records()) == snapshot
