"""``harness units``: what the hidden units of a trained network respond to."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import rich_click as click

from harness.api import units
from harness.cli.main import OK
from harness.cli.options.axes import store_option
from harness.cli.options.common import format_option
from harness.cli.options.trial_id import not_empty
from harness.cli.output.results import stdout_console
from harness.cli.output.units import as_json, print_units
from harness.contract import UsageError
from harness.contract.errors import with_fix
from harness.hidden_units.classes import CLASSES
from harness.hidden_units.units import CHARACTERS


@click.command("units")
@click.argument("trial", callback=not_empty)
@store_option
@format_option("table", "json")
@click.option(
    "--text",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A text file for the network to read.  [default: the validation text of TRIAL]",
)
@click.option(
    "--characters",
    "-n",
    type=click.IntRange(100, 10_000_000),
    default=CHARACTERS,
    show_default=True,
    help="The most characters to read.",
)
@click.option("--class", "class_name", type=click.Choice(CLASSES), help="Only this class.")
@click.option(
    "--unit",
    help="Only this unit, such as h0.17: state h, layer 0, unit 17.  [default: the best]",
)
def command(
    trial: str,
    store: str,
    format_: str,
    text: Path | None,
    characters: int,
    class_name: str | None,
    unit: str | None,
) -> int:
    """Rank the hidden units of TRIAL (id, first digits, last, file) by what they predict.

    For each class of characters (inside quotes, inside brackets, near the end of a line,
    indentation): the units that predict it best, next to what the current character alone
    predicts. Then a part of the text, coloured by the value of one unit.
    """
    content = None if text is None else _content(text, characters)
    study = units(trial, store=store, text=content, characters=characters)
    view = study.view(class_name, unit)
    if format_ == "json":
        sys.stdout.write(json.dumps(as_json(study, view), allow_nan=False) + "\n")
    else:
        print_units(view, stdout_console())
    return OK


def _content(path: Path, characters: int) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(characters)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            with_fix(f"cannot read {path}: {error}", "give a text file in UTF-8")
        ) from error
