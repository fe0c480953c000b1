"""One record in full, for the terminal: figures by kind, curves as lines of blocks, samples, environment, log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from harness.contract.records.columns import FIGURES
from harness.contract.records.record import Record
from harness_results.study import findings
from harness_results.study.curves import drawings, series
from harness_results.study.samples import texts
from harness_results.text.facts import NAME_WIDTH, lines_of, section
from harness_results.text.format import figure, number, one_line, safe, sparkline, to_ascii

SECTIONS = ("learning", "speed", "gradients", "proof")
LOGS = ("log_tail", "traceback")  # long texts of a failure, shown last and in full
GAP = (
    "overfitting_gap",
    "overfitting_gap_error",
    "best_step",
    "best_loss_validation",
    "steps_per_epoch",
)
LEARNING = ("scores", "loss_baseline_exact", "criterion", "solved_lost_at")
APART = (
    *LOGS,
    *GAP,
    *LEARNING,
    "samples",
    "flags",
    "notes",
    "launch_figures",
    "attempts",
    "task_defaults",
)
LAUNCH = [
    column
    for column in FIGURES
    if column.over_launches in ("interval", "median") and column.label and column.table != "limits"
]  # the figures of a launch that depend on the clock
HEIGHT = 9  # lines of a drawing
EVALUATIONS = 12  # shown, evenly spaced
MOST_SCORES, WIDEST_SCORE = 4, 16  # further scores in the table of evaluations; all are in the JSON


class RecordView:
    """A record as a Rich renderable."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, 100)
        for line in _lines(self.record, width, ascii_only=options.ascii_only):
            if options.ascii_only:
                line.plain = to_ascii(line.plain)
            yield line


def show_record(record: Record) -> RecordView:
    """Return everything that is known of a record as a Rich renderable."""
    return RecordView(record)


def _lines(record: Record, width: int, *, ascii_only: bool) -> Iterator[Text]:
    trial = record.trial
    tone = "green" if record.status == "ok" else "red"
    name = f"{trial.task}  {trial.cell}  T={trial.length}  {trial.engine}"
    yield Text.assemble(
        (f"trial {trial.trial_id}  {name}  ", "bold"), (record.status.replace("_", " "), tone)
    )
    if record.reason:
        yield Text(one_line(record.reason), style=tone)
    yield from section(
        "asked", {key: value for key, value in trial.content().items() if value is not None}
    )
    for title in SECTIONS:
        columns = [column for column in FIGURES if column.group == title]
        yield from section(title, {c.name: figure(c, record.figures.get(c.name)) for c in columns})
        bits = findings.bits_per_character(record)
        if title == "learning":
            yield from lines_of({"bits_per_character": number(bits, 4)} if bits is not None else {})
            yield from lines_of(_learning(record))
    yield from _launches(record.details.get("launch_figures"))
    yield from _attempts(record.details.get("attempts"))
    yield from _drawings(record, width, ascii_only=ascii_only)
    yield from _gradient_norm(record, width)
    yield from _evaluations(record.curves.get("evaluations"))
    yield from _judgement(record)
    yield from _samples(record.details)
    yield from section(
        "details", {key: value for key, value in record.details.items() if key not in APART}
    )
    yield from section("environment", _origin(record) | dict(record.environment))
    for key in LOGS:
        if record.details.get(key):
            yield from _block(key.replace("_", " "), record.details[key])


def _learning(record: Record) -> dict[str, str]:
    """Return the facts on learning that are not figures: scores, exact baseline, criterion, and when it was lost."""
    facts = {one_line(name): number(value) for name, value in findings.scores(record).items()}
    if (exact := findings.detail(record, "loss_baseline_exact")) is not None:
        facts["loss_baseline_exact"] = number(exact)
    if criterion := findings.criterion(record):
        facts["criterion"] = one_line(criterion)
    if lost := findings.lost_again(record):
        facts["lost again"] = lost
    return facts


def _drawings(record: Record, width: int, *, ascii_only: bool) -> Iterator[Text]:
    for drawing in drawings(record):
        title, *lines = tuple(drawing.lines(width, HEIGHT, ascii_only=ascii_only)) or ("",)
        if lines:
            yield Text("")
            yield Text(title, style="bold")
            yield from map(Text, lines)


def _gradient_norm(record: Record, width: int) -> Iterator[Text]:
    """Yield the gradient norm over training as one line of blocks."""
    values = series(record.curves.get("gradient_norm"))
    known = [value for value in values if value is not None]
    if known:
        blocks = sparkline(values, max(10, width - NAME_WIDTH - 30), logarithmic=True)
        name = f"  {'gradient norm (log)':<{NAME_WIDTH}} "
        yield Text("")
        yield Text.assemble(
            (name, "dim"), blocks, f"  first {number(known[0])}, last {number(known[-1])}"
        )


def _evaluations(evaluations: Any) -> Iterator[Text]:
    known = _mappings(evaluations)
    if not known:
        return
    yield Text("")
    yield Text("evaluations", style="bold")
    scores = list(dict.fromkeys(str(name) for one in known for name in _mapping(one.get("extra"))))[
        :MOST_SCORES
    ]
    heads = [
        "step",
        "validation",
        "training",
        "accuracy",
        *(one_line(name)[:WIDEST_SCORE] for name in scores),
    ]
    yield Text("".join(f"  {head:>10}" for head in heads), style="dim")
    shown = _spread(len(known))
    for evaluation in (known[index] for index in shown):
        values = [
            evaluation.get(name)
            for name in ("step", "loss_validation", "loss_train_eval", "accuracy")
        ]
        values += [_mapping(evaluation.get("extra")).get(name) for name in scores]
        pairs = zip(heads, values, strict=True)
        yield Text(
            "".join(f"  {number(_known(value)):>{max(10, len(head))}}" for head, value in pairs)
        )
    if len(shown) < len(known):
        yield Text(f"  {len(shown)} of {len(known)} evaluations; -f json has all", style="dim")


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return (
        [one for one in value if isinstance(one, Mapping)]
        if isinstance(value, list | tuple)
        else []
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _known(value: Any) -> float | None:
    return value if isinstance(value, int | float) else None


def _launches(launches: Any) -> Iterator[Text]:
    """Yield the figures of each launch that depend on the clock."""
    known = _mappings(launches)
    if not known:
        return
    yield Text("")
    yield Text("launches", style="bold")
    yield Text(
        f"  {'launch':>6}  {'status':>13}" + "".join(f"  {c.label:>10}" for c in LAUNCH),
        style="dim",
    )
    for number_, found in enumerate(known, start=1):
        figures = "".join(f"  {figure(c, _known(found.get(c.name))):>10}" for c in LAUNCH)
        yield Text(
            f"  {number_:>6}  {one_line(found.get('status')).replace('_', ' '):>13}{figures}"
        )


def _attempts(attempts: Any) -> Iterator[Text]:
    """Yield how the tries ended that were before the one whose figures these are."""
    known = _mappings(attempts)
    if not known:
        return
    yield Text("")
    yield Text(f"try {len(known) + 1}, after", style="bold")
    for found in known:
        yield Text(
            f"  {one_line(found.get('status')).replace('_', ' ')}: {one_line(found.get('reason'))}"
        )


def _spread(count: int) -> list[int]:
    if count <= EVALUATIONS:
        return list(range(count))
    return sorted({round(index * (count - 1) / (EVALUATIONS - 1)) for index in range(EVALUATIONS)})


def _judgement(record: Record) -> Iterator[Text]:
    known = {name: _known(record.details.get(name)) for name in GAP}
    facts = {name: number(value) for name, value in known.items() if value is not None}
    yield from section("validation against training data", facts)
    found = findings.overfitting(record)
    if found:
        yield Text(f"  over-fitting: {found.words()}", style="yellow")
    for flag in findings.flags(record):
        yield Text(f"flag: {one_line(flag)}", style="yellow")


def _samples(details: Mapping[str, Any]) -> Iterator[Text]:
    for temperature, text in texts(details):
        yield from _block(f"sample, temperature {temperature}", text)


def _block(title: str, content: Any) -> Iterator[Text]:
    lines = "\n".join(map(str, content)) if isinstance(content, list | tuple) else str(content)
    yield Text("")
    yield Text(one_line(title), style="bold")
    yield Text(safe(lines.replace("\r\n", "\n")).strip("\n"))


def _origin(record: Record) -> dict[str, Any]:
    names = ("environment_id", "started_at", "harness_version")
    return {name: getattr(record, name) for name in names}
