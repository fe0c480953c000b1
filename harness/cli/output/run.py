"""What ``harness run`` prints at its end: text while it learns, tables, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

from rich.text import Text

from harness.cli.options.axes import default_store
from harness.cli.options.tables import ALL
from harness.cli.output.results import stdout_console
from harness.contract import Record
from harness_results.render.samples import sample_lines
from harness_results.render.terminal import run_table
from harness_results.study import findings
from harness_results.study.samples import moments, worth_showing
from harness_results.study.tables.sections import FURTHER, OF_A_RUN, id_digits
from harness_results.text.passwords import without_password


def print_run(
    records: Sequence[Record], store: str, tables: Sequence[str], *, per_seed: bool = False
) -> None:
    """Print the outcome of a run.

    Args:
        records: one per trial.
        store: where they are stored.
        tables: which further tables to print; ``all`` or their names.
        per_seed: a row for each seed, instead of one for all seeds of a network.
    """
    console = stdout_console()
    further = FURTHER if ALL in tables else (*OF_A_RUN, *tables)
    for line in _texts(records, console.width):
        console.print(line)
    console.print(run_table(records, further, per_seed=per_seed))
    for command in _next(records, store):
        console.print(Text(command), soft_wrap=True)


def _texts(records: Sequence[Record], width: int) -> Iterator[Text]:
    """Yield samples at three moments of training, for one text network of each cell."""
    best: dict[tuple[str, str], Record] = {}
    for record in worth_showing(records):
        best.setdefault((record.trial.task, record.trial.cell), record)
    for record in best.values():
        trial = record.trial
        title = f"{trial.cell} T={trial.length} {trial.engine}: text that it writes while it learns"
        yield Text(title, style="bold")
        yield from sample_lines(moments(record), width)
        yield Text("")


def _next(records: Sequence[Record], store: str) -> Iterator[str]:
    """Yield commands that show more of the most telling trial, with its id."""
    trained = [record for record in records if record.status == "ok"]
    first = min(trained or records, key=_telling)
    id_ = first.trial.trial_id[: id_digits(records)]
    store = without_password(store)
    where = "" if store == default_store() else f" --store {shlex.quote(store)}"
    stored = "" if not where else f" {shlex.quote(store)}"
    shows = f"loss and gradient flow of {first.trial.cell}" if trained else "why it failed"
    commands = [(f"harness show {id_}{where}", shows)]
    if worth_showing([first]):
        if findings.symbol(first) != "word":
            commands.append((f"harness units {id_}{where}", "units that follow quotes, brackets"))
        commands.append((f"harness sample {id_}{where}", "more text that it writes"))
    engines = list(dict.fromkeys(record.trial.engine for record in trained))
    if len(engines) > 1:
        sides = " ".join(engines[:2])
        commands.append((f"harness compare {sides}{where}", "which of the two is faster"))
    commands.append((f"harness report{stored} -f html -o report.html", _page()))
    widest = max(len(command) for command, _ in commands)
    for number, (command, says) in enumerate(commands):
        yield f"{'' if number else 'next:':<6}{command:<{widest}}  {says}"


def _page() -> str:
    """Return what the page is; if its libraries are missing, what it needs."""
    missing = [name for name in ("altair", "jinja2", "vl_convert") if find_spec(name) is None]
    return "a page; needs the extra report" if missing else "everything, on a page"


def _telling(record: Record) -> tuple[int, float]:
    """Return what orders trials for a reader: the longest sequences that are learnt, the loss.

    A text has no length at which it becomes hard, so its trials are ordered by the loss alone.
    """
    ratio = findings.rank(record, "loss_ratio")
    is_learnt = ratio < 1 - findings.AT_BASELINE and not findings.ngram_losses(record)
    return -record.trial.length if is_learnt else 0, ratio
