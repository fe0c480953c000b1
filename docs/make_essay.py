"""Run the commands of ``essay.md`` and put what they give into the page and ``results/measured``.

Usage: ``python docs/make_essay.py [--outputs]``. It takes about five minutes, three of
them of one processor, and needs the extra ``report``.

What belongs to a command stands below it:

- ``<!-- output -->`` marks the block that its standard output takes; ``<!-- output: 8 lines -->``
  only so many, ``<!-- output: from "curves", 5 lines -->`` from the first line on that begins so.
- ``<!-- seeds NAME: cell, length: loss_ratio -->`` marks a table: a row for each cell and length, a
  column for each figure, with its values for seeds 0, 1, 2. Their records are
  ``results/measured/essay-NAME.jsonl``.
- ``<!-- picture CHART length=50 -->`` marks a picture of the trials that the command has run;
  ``<!-- picture units -->`` one of the text in the colours of a unit (with ``--outputs`` too).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from click.testing import CliRunner

import harness
from harness.cli.main import cli
from harness.contract import Record
from harness.hidden_units.view import INK, View, colour
from harness_results.charts.picture import picture
from harness_results.results import Results
from harness_results.store.store import Store

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "essay.md"
MEASURED = ROOT / "results" / "measured"
MORE_SEEDS = "1,2"
RULE = f"{'-' * 60}\n"  # between the outputs of two commands
SCALE = 1.5  # pixels per unit of a chart

COMMAND = re.compile(r"```bash\n(?P<command>.*?)```\n", re.DOTALL)
OUTPUT = re.compile(
    r'(?P<mark><!-- output(?:: (?:from "(?P<start>[^"]+)")?(?:, )?(?:(?P<lines>\d+) lines)?)?'
    r" -->\n)```text\n(?P<output>.*?)```\n",
    re.DOTALL,
)
TABLE = re.compile(
    r"(?P<mark><!-- seeds (?P<name>[\w-]+): (?P<axes>[\w, ]+): (?P<figures>[\w, ]+) -->\n)"
    r"(?P<table>(?:\|.*\n)*)"
)
PICTURE = re.compile(
    r"<!-- picture (?P<chart>[\w-]+)(?P<filters>(?: \w+=\w+)*) -->\n!\[[^\]]*\]\((?P<file>[^)]+)\)"
)
WIDTH, HEIGHT = 9, 20  # of a character of a coloured text
TEXT_COLUMNS, TEXT_LINES = 72, 9
ENDINGS = (None, 0, 3)  # a table with a trial that diverged is an answer too
QUICK = (  # how a test shortens a command
    (re.compile(r"--steps \d+$"), "--steps 12 --fast"),
    (re.compile(r"--steps \d+"), "--steps 12 --isolation backend"),
    (re.compile(r"--sample-every \d+"), "--sample-every 6"),
    (re.compile(r"--hidden \d+"), "--hidden 8"),
    (re.compile("-t char"), "-t char --set task.char.validation_characters=2000"),
    (re.compile("-c rnn,lstm"), "-c lstm"),
)


def main() -> None:
    """Write the page, its pictures and the records anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--outputs", action="store_true", help="only what commands print; keep records and pictures"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make = Essay(Path(folder), seeds=not asked.outputs)
        page = make.retold(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")


@dataclass(frozen=True)
class Essay:
    """How the page is made.

    Attributes:
        folder: where all commands run, and where the stores are.
        seeds: measure more seeds, and make tables and pictures of them.
        quick: with a few steps; pictures are tried but not drawn.
    """

    folder: Path
    seeds: bool = False
    quick: bool = False

    def retold(self, page: str) -> str:
        """Return the page with the present output of every command."""
        first, *parts = re.split(r"(?=```bash\n)", page)
        return first + "".join(self._part(part) for part in parts)

    def _part(self, part: str) -> str:
        """Return a command and what follows it, up to the next command."""
        if not (self.seeds or self.quick or OUTPUT.search(part)):
            return part
        lines = COMMAND.match(part)["command"].splitlines()  # type: ignore[index]
        commands = [line for line in lines if line.startswith("harness ")]
        output = RULE.join(self._run(line) for line in commands)
        records = list(self._last("harness.sqlite")) if TABLE.search(part) else []
        if self.seeds and (table := TABLE.search(part)):
            self._run(f"{commands[0]} --seed {MORE_SEEDS} --store seeds.sqlite")
            records += self._last("seeds.sqlite")
            _write(records, MEASURED / f"essay-{table['name']}.jsonl")
            rows = seeds_table(records, words(table["axes"]), words(table["figures"]))
            part = TABLE.sub(lambda found: found["mark"] + rows, part)
        for wanted in PICTURE.finditer(part):
            if wanted["chart"] == "units":
                self._draw_units(PAGE.parent / wanted["file"])
                continue
            filters = dict(word.split("=") for word in wanted["filters"].split())
            chart = Results(records).filter(**_typed(filters)).chart(wanted["chart"])
            if self.seeds:
                (PAGE.parent / wanted["file"]).write_bytes(picture(chart, "png", SCALE))

        def shown(block: re.Match[str]) -> str:
            text = excerpt(output, block["start"], int(block["lines"] or 0))
            return f"{block['mark']}```text\n{text}```\n"

        return OUTPUT.sub(shown, part)

    def _draw_units(self, path: Path) -> None:
        view = harness.units("last", store=self.folder / "harness.sqlite").view()
        if not self.quick:
            path.write_text(coloured(view), encoding="utf-8")

    def _run(self, command: str) -> str:
        for pattern, short in QUICK if self.quick else ():
            command = pattern.sub(short, command)
        sys.stderr.write(f"{command}\n")
        arguments = shlex.split(command, comments=True)[1:]
        with contextlib.chdir(self.folder):
            result = CliRunner().invoke(cli, arguments, standalone_mode=False)
        if result.exception is not None or result.return_value not in ENDINGS:
            status = result.exception or result.return_value
            raise SystemExit(f"{command}\nended with {status}:\n{result.output}")
        return result.stdout

    def _last(self, name: str) -> Results:
        """Return the last run of a store."""
        with Store.open(self.folder / name, create=False) as store:
            run = store.run_named("last")
        return Results.from_store(self.folder / name, run)


def _write(records: Iterable[Record], path: Path) -> None:
    rows = (json.dumps(record.columns(), ensure_ascii=False) for record in records)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def words(text: str) -> list[str]:
    """Return the words of a comma list."""
    return [word.strip() for word in text.split(",")]


def _typed(filters: dict[str, str]) -> dict[str, int | str]:
    return {name: int(text) if text.isdigit() else text for name, text in filters.items()}


def seeds_table(records: Sequence[Record], axes: Sequence[str], figures: Sequence[str]) -> str:
    """Return a Markdown table: a row for each setting, in each cell the values of all seeds."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in sorted(records, key=lambda record: record.trial.seed):
        groups.setdefault(tuple(_setting(record, axis) for axis in axes), []).append(record)
    head = [name.replace("_", " ") for name in (*axes, *figures)]
    rows = [head, ["---"] * len(head)]
    for labels, group in groups.items():
        values = [[_figure(record, name) for record in group] for name in figures]
        cells = [", ".join(each if len(set(each)) > 1 else each[:1]) for each in values]
        rows.append([*labels, *cells])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _setting(record: Record, axis: str) -> str:
    trial = record.trial
    options = {**record.details["task_defaults"], **trial.task_options}
    value = options[axis] if axis in options else getattr(trial, axis)
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _figure(record: Record, name: str) -> str:
    value = record.figures.get(name)
    if value is None:
        return record.status
    censored = name == "gradient_horizon" and record.columns()["gradient_horizon_censored"]
    text = f"{value:.3g}" if isinstance(value, float) else f"{value:,}"
    return f">{text}" if censored else text


def coloured(view: View) -> str:
    """Return the first lines of a text in the colours of a unit, as SVG."""
    shapes, line, column = [], 0, 0
    for level, character in zip(view.levels, view.text, strict=True):
        if character == "\n":
            line, column = line + 1, 0
            if line == TEXT_LINES:
                break
            continue
        x, y = column * WIDTH, line * HEIGHT
        colours = f'width="{WIDTH}" height="{HEIGHT}" fill="rgb{colour(level)}"'
        shapes.append(f'<rect x="{x}" y="{y}" {colours}/>')
        shapes.append(f'<text x="{x + WIDTH / 2}" y="{y + 14}">{escape(character)}</text>')
        column += 1
    size = f'viewBox="0 0 {TEXT_COLUMNS * WIDTH} {TEXT_LINES * HEIGHT}"'
    style = f'font-family="monospace" font-size="14" text-anchor="middle" fill="rgb{INK}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{"".join(shapes)}</svg>\n'


def excerpt(output: str, start: str | None, count: int) -> str:
    """Return ``count`` lines (0: all) from the first that begins with ``start``, and ``...``."""
    lines = [line.rstrip() for line in output.strip("\n").splitlines()]
    first = (
        next((n for n, line in enumerate(lines) if line.startswith(start)), None) if start else 0
    )
    if first is None:
        raise SystemExit(f"no line of the output begins with {start!r}:\n{output}")
    shown = lines[first : first + count if count else None]
    before, after = ["..."] * bool(first), ["..."] * (first + len(shown) < len(lines))
    return "\n".join([*before, *shown, *after]) + "\n"


if __name__ == "__main__":
    main()
