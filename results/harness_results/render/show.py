"""One record for the terminal: drawings and the main figures, or everything that is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from harness.contract.records.columns import FIGURES
from harness.contract.records.evaluated import evaluated
from harness.contract.records.probed import PROBES, probe_figures
from harness.contract.records.record import Record
from harness_results.render.samples import sample_lines
from harness_results.study import findings
from harness_results.study.curves import drawings, series
from harness_results.study.samples import texts, texts_over_training
from harness_results.text.facts import NAME_WIDTH, lines_of, section
from harness_results.text.format import (
    as_mapping,
    figure,
    interval,
    number,
    one_line,
    safe,
    sparkline,
    to_ascii,
)
from harness_results.text.plot import Plot
from harness_results.text.thinning import evenly_chosen

MAIN = (
    "loss_validation", "loss_ratio", "loss_final", "accuracy", "solved", "gradient_horizon",
    "gradient_norm_median", "gradient_norm_max", "tokens_per_second", "parity_error",
)  # fmt: skip
MAIN_DRAWINGS = 2  # the loss, and the gradient flow after training
MOST_SAMPLES = 8
REST = "--all: settings, all figures, evaluations, samples, details, environment"
SECTIONS = ("learning", "speed", "gradients", "proof")
LOGS = ("log_tail", "traceback")  # long texts of a failure, shown last and in full
GAP = (
    "overfitting_gap", "overfitting_gap_error", "best_step", "best_loss_validation",
    "steps_per_epoch",
)  # fmt: skip
LEARNING = ("scores", "loss_baseline_exact", "criterion", "solved_lost_at")
# Details that have a section of their own, or none.
APART = (
    *LOGS, *GAP, *LEARNING,
    "samples", "samples_over_training", "flags", "notes", "launch_figures", "attempts",
    "task_defaults", "evaluation_sets", PROBES,
)  # fmt: skip
LAUNCH = [
    column
    for column in FIGURES
    if column.over_launches in ("interval", "median") and column.label and column.table != "limits"
]  # the figures of a launch that depend on the clock
HEIGHT = 9  # lines of a drawing
MOST_EVALUATIONS = 12
MOST_SCORES, WIDEST_SCORE = 4, 16  # scores in the table of evaluations; the JSON has all


class RecordView:
    """A record as a Rich renderable, in full or only what matters most."""

    def __init__(self, record: Record, *, whole: bool) -> None:
        self.record = record
        self.whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = min(options.max_width, 100)
        ascii_only = options.ascii_only
        lines = list(_main(self.record, width, ascii_only=ascii_only))
        if self.whole:
            lines += _rest(self.record, width, ascii_only=ascii_only)
        else:
            lines += _end(self.record)
        for line in lines:
            if options.ascii_only:
                line.plain = to_ascii(line.plain)
            yield line


def show_record(record: Record, *, whole: bool = True) -> RecordView:
    """Return a record as a Rich renderable.

    Args:
        record: the record.
        whole: whether to show everything that is known; else the drawings, ten figures, samples
            over training and flags.
    """
    return RecordView(record, whole=whole)


def _main(record: Record, width: int, *, ascii_only: bool) -> Iterator[Text]:
    """Yield what matters most: drawings, figures, samples over training, over-fitting, flags."""
    trial = record.trial
    style = "green" if record.status == "ok" else "red"
    name = f"trial {trial.trial_id}  {trial.task}  {trial.cell}  T={trial.length}  {trial.engine}  "
    yield Text.assemble((name, "bold"), (record.status.replace("_", " "), style))
    if record.reason:
        yield Text(one_line(record.reason), style=style)
    yield from _drawings(list(drawings(record))[:MAIN_DRAWINGS], width, ascii_only=ascii_only)
    yield from section("figures", _figures(record))
    if samples := texts_over_training(record.details):
        yield Text("")
        yield Text("text while it learns", style="bold")
        yield from sample_lines(evenly_chosen(samples, MOST_SAMPLES), width)
    yield from _warnings(record)


def _figures(record: Record) -> dict[str, str]:
    """Return the figures that matter most, those that are known."""
    figures = record.figures
    texts_of = {c.name: figure(c, figures.get(c.name)) for c in FIGURES if c.name in MAIN}
    texts_of["loss_validation"] += f" {findings.loss_unit(record)}"
    texts_of["loss_ratio"] += f" x {findings.baseline_name(record)}"
    speeds = ("tokens_per_second", "tokens_per_second_low", "tokens_per_second_high")
    texts_of["tokens_per_second"] = interval(*(figures.get(name) for name in speeds))
    beyond = ">" * findings.is_censored(record)
    texts_of["gradient_horizon"] = f"{beyond}{texts_of['gradient_horizon']} time steps back"
    return {name: texts_of[name] for name in MAIN if figures.get(name) is not None}


def _end(record: Record) -> Iterator[Text]:
    """Yield the log of a failure, and how to see the rest."""
    yield from _logs(record)
    yield Text("")
    yield Text(REST, style="dim")


def _logs(record: Record) -> Iterator[Text]:
    for key in LOGS:
        if record.details.get(key):
            yield from _block(key.replace("_", " "), record.details[key])


def _rest(record: Record, width: int, *, ascii_only: bool) -> Iterator[Text]:
    """Yield everything that ``_main`` leaves out."""
    settings = record.trial.content().items()
    yield from section("asked", {key: value for key, value in settings if value is not None})
    for title in SECTIONS:
        columns = [column for column in FIGURES if column.group == title]
        yield from section(title, {c.name: figure(c, record.figures.get(c.name)) for c in columns})
        if title == "learning":
            yield from lines_of(_bits(record))
            yield from lines_of(_learning(record))
    yield from _launches(record.details.get("launch_figures"))
    yield from _attempts(record.details.get("attempts"))
    yield from _drawings(list(drawings(record))[MAIN_DRAWINGS:], width, ascii_only=ascii_only)
    yield from _gradient_norm(record, width)
    yield from _evaluations(record.curves.get("evaluations"))
    yield from _sets(record)
    probes = probe_figures(record.details).items()
    yield from section("probes", {name: number(value) for name, value in probes})
    yield from _judgement(record)
    yield from _samples(record.details)
    details = {key: value for key, value in record.details.items() if key not in APART}
    yield from section("details", details)
    yield from section("environment", _origin(record) | dict(record.environment))
    yield from _logs(record)


def _bits(record: Record) -> dict[str, str]:
    bits = findings.bits_per_symbol(record)
    return {} if bits is None else {f"bits_per_{findings.symbol(record)}": number(bits, 4)}


def _learning(record: Record) -> dict[str, str]:
    """Return the facts on learning that are not figures, such as scores and the criterion."""
    facts = {one_line(name): number(value) for name, value in findings.scores(record).items()}
    if (exact := findings.detail(record, "loss_baseline_exact")) is not None:
        facts["loss_baseline_exact"] = number(exact)
    if criterion := findings.criterion(record):
        facts["criterion"] = one_line(criterion)
    if lost := findings.lost_again(record):
        facts["lost again"] = lost
    return facts


def _drawings(plots: Iterable[Plot], width: int, *, ascii_only: bool) -> Iterator[Text]:
    for drawing in plots:
        title, *lines = tuple(drawing.lines(width, HEIGHT, ascii_only=ascii_only)) or ("",)
        if lines:
            yield Text("")
            yield Text(title, style="bold")
            yield from map(Text, lines)


def _gradient_norm(record: Record, width: int) -> Iterator[Text]:
    """Yield the gradient norm over training as one line of blocks."""
    values = series(record.curves.get("gradient_norm"))
    norms = [value for value in values if value is not None]
    if norms:
        name = f"  {'gradient norm (log)':<{NAME_WIDTH}} "
        blocks = sparkline(values, max(10, width - NAME_WIDTH - 30), logarithmic=True)
        ends = f"  first {number(norms[0])}, last {number(norms[-1])}"
        yield Text("")
        yield Text.assemble((name, "dim"), blocks, ends)


def _evaluations(content: Any) -> Iterator[Text]:
    evaluations = _mappings(content)
    if not evaluations:
        return
    yield Text("")
    yield Text("evaluations", style="bold")
    extras = [as_mapping(evaluation.get("extra")) for evaluation in evaluations]
    scores = list(dict.fromkeys(str(name) for extra in extras for name in extra))[:MOST_SCORES]
    heads = ["step", "validation", "training", "accuracy"]
    names = ["step", "loss_validation", "loss_train_eval", "accuracy"]
    if any("tokens_validation" in evaluation for evaluation in evaluations):
        heads.insert(1, "tokens")  # of validation; losses on different tokens do not compare
        names.insert(1, "tokens_validation")
    heads += [one_line(name)[:WIDEST_SCORE] for name in scores]
    yield Text("".join(f"  {head:>10}" for head in heads), style="dim")
    chosen = evenly_chosen(range(len(evaluations)), MOST_EVALUATIONS)
    for index in chosen:
        values = [evaluations[index].get(name) for name in names]
        values += [extras[index].get(name) for name in scores]
        line = ""
        for head, value in zip(heads, values, strict=True):
            line += f"  {number(_number(value)):>{max(10, len(head))}}"
        yield Text(line)
    if len(chosen) < len(evaluations):
        note = f"  {len(chosen)} of {len(evaluations)} evaluations; -f json has all"
        yield Text(note, style="dim")


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    items = value if isinstance(value, list | tuple) else []
    return [item for item in items if isinstance(item, Mapping)]


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) else None


def _launches(content: Any) -> Iterator[Text]:
    """Yield the figures of each launch that depend on the clock."""
    launches = _mappings(content)
    if not launches:
        return
    yield Text("")
    yield Text("launches", style="bold")
    heads = "".join(f"  {column.label:>10}" for column in LAUNCH)
    yield Text(f"  {'launch':>6}  {'status':>13}{heads}", style="dim")
    for launch_number, launch in enumerate(launches, start=1):
        status = one_line(launch.get("status")).replace("_", " ")
        figures = "".join(f"  {figure(c, _number(launch.get(c.name))):>10}" for c in LAUNCH)
        yield Text(f"  {launch_number:>6}  {status:>13}{figures}")


def _attempts(content: Any) -> Iterator[Text]:
    """Yield how the earlier attempts at this trial ended."""
    attempts = _mappings(content)
    if not attempts:
        return
    yield Text("")
    yield Text(f"try {len(attempts) + 1}, after", style="bold")
    for attempt in attempts:
        status = one_line(attempt.get("status")).replace("_", " ")
        yield Text(f"  {status}: {one_line(attempt.get('reason'))}")


def _sets(record: Record) -> Iterator[Text]:
    """Yield the figures on further held-out data."""
    sets = evaluated(record)
    if not sets:
        return
    yield Text("")
    yield Text("after training, on further held-out data", style="bold")
    heads = ("set", "T", "loss", "x baseline", "accuracy", "solved")
    yield Text("".join(f"  {head:>10}" for head in heads), style="dim")
    for each in sets:
        values = map(number, (each.length, each.loss, each.loss_ratio, each.accuracy))
        cells = (one_line(each.name), *values, "yes" if each.solved else "no")
        yield Text("".join(f"  {cell:>10}" for cell in cells))


def _judgement(record: Record) -> Iterator[Text]:
    values = {name: _number(record.details.get(name)) for name in GAP}
    facts = {name: number(value) for name, value in values.items() if value is not None}
    yield from section("validation against training data", facts)


def _warnings(record: Record) -> Iterator[Text]:
    overfitting = findings.overfitting(record)
    warnings = [f"over-fitting: {overfitting.words()}"] if overfitting else []
    warnings += [f"flag: {one_line(flag)}" for flag in findings.flags(record)]
    if warnings:
        yield Text("")
    for warning in warnings:
        yield Text(warning, style="yellow")


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
