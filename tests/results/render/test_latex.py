"""LaTeX: a report is complete, however many rows, lengths, tasks and notes there are."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from chart_records import make
from harness_results.render.latex import MOST_FLOATS, MOST_LINES, to_latex

DOCUMENT = (
    "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n%s\\end{document}\n"
)
ROWS = [
    make(length=length, trial={"data_seed": seed})
    for seed in range(2 * MOST_LINES)
    for length in (10, 20, 40)
]
TASKS = [make(task=f"t{number}") for number in range(3 * MOST_FLOATS)]
NOTES = [
    replace(make(trial={"data_seed": n}, status="failed"), reason=f"{'x' * n} is {'odd ' * 60}")
    for n in range(12)
]
HOSTILE = [
    replace(make(status="failed"), reason="\\input{/etc/passwd} $_&%#{}~^\\ \u2028 \ud800 漢 é")
]


def floats(text):
    return re.findall(r"\\begin\{table\}(.*?)\\end\{table\}", text, re.DOTALL)


def test_rows_that_fill_pages_stand_in_several_tables_and_none_is_lost():
    tables = [table for table in floats(to_latex(ROWS)) if "& horizon" in table]
    assert max(len(re.findall(r"numpy:loop", table)) for table in tables) <= MOST_LINES
    rows = [
        row
        for table in tables
        for row in re.findall(r"^.*& (\d+) & numpy:loop & 0\.", table, re.MULTILINE)
    ]
    assert sorted(map(int, rows)) == sorted([*range(2 * MOST_LINES)] * 3)
    assert ["(continued)" in table for table in tables[:2]] == [False, True]


def test_two_lengths_stand_side_by_side_only_where_they_fit():
    heads = re.findall(
        r"^ & .*multicolumn.*$", to_latex([make(length=n) for n in (10, 20, 40)]), re.MULTILINE
    )
    side_by_side = [re.findall(r"T = (\d+)", head) for head in heads]
    assert side_by_side[:3] == [["10"], ["20"], ["40"]]
    assert ["10", "20"] in side_by_side[3:]  # of a narrower table


def test_there_are_never_more_floats_than_latex_takes():
    parts = to_latex(TASKS).split(r"\clearpage")
    assert len(parts) > 2
    assert max(len(floats(part)) for part in parts) == MOST_FLOATS


def test_many_notes_follow_the_table_as_text():
    text = to_latex(NOTES)
    assert "odd" not in "".join(floats(text))
    assert text.count("n/a: ") == len(NOTES)


@pytest.mark.parametrize(
    "records", [ROWS, TASKS, NOTES, HOSTILE], ids=["rows", "tasks", "notes", "hostile"]
)
def test_latex_takes_it_and_nothing_leaves_the_page(records, tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("no LaTeX is installed: apt-get install texlive-latex-recommended")
    (tmp_path / "r.tex").write_text(DOCUMENT % to_latex(records), encoding="utf-8")
    command = [
        "pdflatex",
        "-no-shell-escape",
        "-interaction=nonstopmode",
        "-halt-on-error",
        "r.tex",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Float too large" not in done.stdout
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", done.stdout)]
    assert max(wide, default=0.0) < 20  # what an estimate of widths may miss
