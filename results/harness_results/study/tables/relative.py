"""Engines side by side: throughput as a multiple of one engine's, and the limit."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from harness.contract import Record, UnknownNameError
from harness_results.study import versions
from harness_results.study.engines import variant_legend
from harness_results.study.machines import legend
from harness_results.study.study import Study, studies
from harness_results.study.tables.notes import LEGEND
from harness_results.study.tables.pivot import OTHER_FUNCTION
from harness_results.study.verdicts.fastest import fastest
from harness_results.study.verdicts.order import each_launch, interleaved
from harness_results.text.format import UNKNOWN, number, seconds
from harness_results.text.grid import Grid

LIMIT = (
    "limit: products of this shape that a recurrence must take one after the other, and the others "
    "at the rate of large ones, by the fastest engine's products"
)
DRIFT = (
    "their launches came before or after, or are too few to tell, so the multiples hold the "
    "machine's drift; better measure all in one run, with --launches 5"
)
RowKey = tuple[str, ...]  # a network's labels and its length
Engines = Mapping[str, Record]
Launches = Sequence[Record]


def relative(records: Sequence[Record], base: str) -> list[Grid]:
    """Return one table per task: a row per network and length, a column per engine.

    Args:
        records: one per trial. Multiples compare engines fairly only within one run.
        base: the engine whose throughput counts as 1.

    Raises:
        UnknownNameError: no record is of that engine.
    """
    engines = list(dict.fromkeys(record.trial.engine for record in records))
    if base not in engines:
        raise UnknownNameError("engine of these records", base, engines)
    return [_grid(study, base) for study in studies(records)]


def least_seconds(
    records: Sequence[Record], fraction: str = "fraction_of_serial_limit"
) -> float | None:
    """Return the limit of a training step by the fastest engine's products; None if unknown.

    Args:
        records: one network and length on its engines.
        fraction: the figure that holds the limit: ``fraction_of_serial_limit`` or
            ``fraction_of_peak``.
    """
    pairs = ((_figure(r, fraction), _figure(r, "step_seconds_median")) for r in records)
    return min((share * step for share, step in pairs if share and step), default=None)


def _grid(study: Study, base: str) -> Grid:
    records, bold = study.records, fastest([study])
    rows: dict[RowKey, dict[str, Record]] = {}
    for labels, record in study.labelled:
        engines_here = rows.setdefault((*labels[:-1], str(record.trial.length)), {})
        engines_here[record.trial.engine] = record
    engines = [base, *dict.fromkeys(r.trial.engine for r in records if r.trial.engine != base)]
    return Grid(
        title=f"{study.task}: throughput as a multiple of {base}   {study.networks.words}",
        axes=(*study.networks.axes[:-1], "T"),
        columns=("limit", base, *engines[1:], "fastest", "x limit"),
        rows=tuple((row, _cells(rows[row], engines, bold)) for row in _by_network(rows)),
        notes=(
            *_notes(records, base),
            *_apart(rows, base, engines[1:]),
            *legend(records, study.machines),
            *versions.legend(records),
            *variant_legend(records),
        ),
    )


def _by_network(rows: Mapping[RowKey, Engines]) -> list[RowKey]:
    """Return the rows by network, so that its lengths are adjacent."""
    order = list(dict.fromkeys(row[:-1] for row in rows))
    return sorted(rows, key=lambda row: (order.index(row[:-1]), int(row[-1])))


def _cells(engines: Engines, names: Sequence[str], bold: Container[int]) -> tuple[str, ...]:
    base, speed = names[0], _speed(engines.get(names[0]))
    step = _figure(engines[base], "step_seconds_median") if base in engines else None
    multiples = (_multiple(engines.get(name), speed) for name in names[1:])
    least = least_seconds(list(engines.values()))
    clear = next((name for name, record in engines.items() if id(record) in bold), "cannot tell")
    of_limit = _of_limit(list(engines.values()), least)
    return (seconds(least), seconds(step), *multiples, clear, of_limit)


def _figure(record: Record, name: str) -> float | None:
    value = record.figures.get(name)
    return None if value is None else float(value)


def _speed(record: Record | None) -> float | None:
    if record is None or record.status != "ok":
        return None
    return _figure(record, "tokens_per_second")


def _multiple(record: Record | None, base: float | None) -> str:
    if record is None:
        return ""
    if record.status != "ok":
        return record.status.replace("_", " ")
    speed = _speed(record)
    mark = f" {OTHER_FUNCTION}" if "deviation" in record.details else ""
    return (UNKNOWN if speed is None or not base else number(speed / base)) + mark


def _of_limit(records: Sequence[Record], least: float | None) -> str:
    """Return the shortest step of the same function, as a multiple of the limit."""
    steps = [
        _figure(record, "step_seconds_median")
        for record in records
        if record.status == "ok" and "deviation" not in record.details
    ]
    shortest = min(filter(None, steps), default=None)
    return number(shortest / least) if shortest and least else UNKNOWN


def _apart(rows: Mapping[RowKey, Engines], base: str, engines: Sequence[str]) -> list[str]:
    """Return a note on the engines whose launches took no turns with those of the base."""
    apart = [name for name in engines if not _in_turn(_timed(rows, base, name))]
    return [f"not interleaved with {base}: {', '.join(apart)}; {DRIFT}"] if apart else []


def _timed(rows: Mapping[RowKey, Engines], base: str, name: str) -> list[tuple[Launches, Launches]]:
    """Return the launches of both engines on each network on which both have a speed."""
    both = (row for row in rows.values() if _speed(row.get(base)) and _speed(row.get(name)))
    return [(each_launch(row[base]), each_launch(row[name])) for row in both]


def _in_turn(pairs: Sequence[tuple[Launches, Launches]]) -> bool:
    """Say whether launches took turns: on each network with several, and over all."""
    each = all(interleaved(*pair) for pair in pairs if min(map(len, pair)) > 1)
    whole = [[launch for pair in pairs for launch in pair[side]] for side in (0, 1)]
    return not pairs or (each and interleaved(*whole))


def _notes(records: Sequence[Record], base: str) -> list[str]:
    launches = {record.launches for record in records}
    many = "medians"
    if len(launches) == 1 and launches != {1}:
        many = f"medians of {max(launches)} launches"
    multiples = f"others: throughput over that of {base}, {many}; above 1 is more"
    notes = [
        f"limit, {base}: time of a training step · {multiples}",
        "fastest: by the rule of harness compare · x limit: the shortest step over the limit",
        LIMIT,
    ]
    if any("deviation" in record.details for record in records):
        notes.append(f"{OTHER_FUNCTION} {LEGEND[OTHER_FUNCTION]}")
    return notes
