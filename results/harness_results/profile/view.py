"""The profile of a cell as rows: a section and a name, and an entry for each cell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.contract.records.probed import Probed, probed
from harness.contract.records.record import HORIZON_FRACTION, Record
from harness_results.study import findings
from harness_results.study.seeds.ladder import FEWEST_SEEDS, Rung, rungs_of
from harness_results.study.seeds.summary import (
    members_of,
    over_seeds,
    solved_of,
    steps_to_solve,
)
from harness_results.study.study import Study, studies
from harness_results.study.tables.pivot import OTHER_FUNCTION, SOLVED, UNVERIFIED
from harness_results.text.format import UNKNOWN, interval, number, one_line, ratio

SECTIONS = ("computes", "keeps", "learns", "speed", "proof")
NEVER = "never"
Values = dict[str, Any]  # of an entry, as JSON has it


@dataclass(frozen=True)
class Entry:
    """What was measured of one cell: a text, and the values in it."""

    text: str
    values: Values = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One line of a profile.

    Attributes:
        section: one of ``SECTIONS``.
        name: what was measured.
        entries: cell -> entry; a cell of which nothing was measured has none.
    """

    section: str
    name: str
    entries: dict[str, Entry]


@dataclass(frozen=True)
class Profile:
    """The records of a cell, and of those next to it.

    Attributes:
        cell: the name of the cell.
        against: the names of the others.
        trained: a record for each trial that trained; one for each seed.
        timed: a record for each trial that was timed alone on the machine.
    """

    cell: str
    against: tuple[str, ...]
    trained: Sequence[Record]
    timed: Sequence[Record]

    @property
    def cells(self) -> tuple[str, ...]:
        """The cell, then the others."""
        return (self.cell, *self.against)

    @property
    def title(self) -> str:
        """What the profile is of, in words."""
        others = " and ".join(map(one_line, self.against))
        next_to = f" next to {others}" if others else ""
        return f"profile of {one_line(self.cell)}{next_to}"

    @property
    def records(self) -> list[Record]:
        """All records."""
        return [*self.trained, *self.timed]

    @cached_property
    def tasks(self) -> list[Study]:
        """The study of each task on which networks were trained, over seeds."""
        return studies(over_seeds(self.trained))

    @cached_property
    def rungs(self) -> list[Rung]:
        """Each rung of the ladder, of each cell."""
        return rungs_of(self.tasks)

    @cached_property
    def rungs_by_cell(self) -> dict[str, list[Rung]]:
        """The rungs of each cell of which any was measured."""
        by_cell: dict[str, list[Rung]] = {}
        for rung in self.rungs:
            by_cell.setdefault(rung.record.trial.cell, []).append(rung)
        return by_cell

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The lines, in order of sections."""
        return (
            *_computes(self),
            *_keeps(self),
            *_learns(self),
            *_speed(self.timed),
            *_proof(self),
        )

    def rows_of(self, section: str) -> list[Row]:
        """Return the lines of a section."""
        return [row for row in self.rows if row.section == section]

    def records_of(self, cell: str) -> list[Record]:
        """Return all records of a cell."""
        return [record for record in self.records if record.trial.cell == cell]


def is_solved(rung: Rung) -> bool:
    """Return whether four of five seeds solve a rung at every length; of fewer seeds, each."""
    if rung.seeds >= FEWEST_SEEDS:
        return rung.is_climbed
    return rung.solved == rung.seeds


def horizon_steps(record: Record) -> float | None:
    """Return the steps until a gradient is 1 %, by the median exponent of all seeds.

    It is infinite if the gradient does not shrink. None: the probe did not measure the record.
    """
    exponent = _figures(record, "lyapunov").get("exponent_per_step")
    if exponent is None:
        return None
    return math.inf if exponent >= 0 else math.log(HORIZON_FRACTION) / exponent


def is_proven(record: Record) -> bool:
    """Return whether loss and gradients of a trial agree with the reference."""
    error, tolerance = (record.figures.get(f"parity_{name}") for name in ("error", "tolerance"))
    return error is not None and tolerance is not None and error <= tolerance


def is_trained(record: Record) -> bool:
    """Return whether there was something to prove: an engine ran the cell."""
    return record.status not in ("unsupported", "interrupted")


def _figures(record: Record, probe: str) -> dict[str, float | None]:
    return dict(probed(record.details).get(probe, Probed(probe, None)).figures)


def _rows(section: str, entries: Iterable[tuple[str, str, Entry]]) -> Iterator[Row]:
    """Yield a row for each name among these names, cells and entries."""
    by_name: dict[str, dict[str, Entry]] = {}
    for name, cell, entry in entries:
        by_name.setdefault(name, {})[cell] = entry
    for name, by_cell in by_name.items():
        yield Row(section, name, by_cell)


def _computes(profile: Profile) -> Iterator[Row]:
    counts = {
        cell: (sum(map(is_solved, rungs)), len(rungs))
        for cell, rungs in profile.rungs_by_cell.items()
    }
    if counts:
        yield Row("computes", "rungs solved", _shares(counts, "solved"))
    yield from _rows(
        "computes",
        ((rung.name, rung.record.trial.cell, _rung_entry(rung)) for rung in profile.rungs),
    )


def _rung_entry(rung: Rung) -> Entry:
    accuracy = UNKNOWN if rung.accuracy is None else f"{rung.accuracy:.2f}"
    text = f"{rung.solved}/{rung.seeds} {accuracy} {SOLVED if is_solved(rung) else ' '}"
    values = {"solved": rung.solved, "seeds": rung.seeds, "accuracy": rung.accuracy}
    return Entry(text, values | {"lengths": list(rung.lengths), "is_solved": is_solved(rung)})


def _keeps(profile: Profile) -> Iterator[Row]:
    kinds: Sequence[tuple[str, Callable[[Record], Entry | None]]] = (
        ("capacity", _capacity),
        ("latent", _latent),
        ("horizon", _horizon),
    )
    records = [record for study in profile.tasks for record in study.records]
    for noun, entry_of in kinds:
        entries = ((record, entry_of(record)) for record in records)
        yield from _rows(
            "keeps",
            (
                (f"{noun}, {setting(record)}", record.trial.cell, entry)
                for record, entry in entries
                if entry is not None
            ),
        )


def setting(record: Record) -> str:
    """Return the task and the length of a network, in words."""
    return f"{one_line(record.trial.task)} T={record.trial.length}"


def _capacity(record: Record) -> Entry | None:
    figures = _figures(record, "memory")
    capacity, lags = figures.get("capacity"), figures.get("lags_steps")
    if capacity is None:
        return None
    return Entry(number(capacity), {"capacity": capacity, "lags_steps": lags})


def _latent(record: Record) -> Entry | None:
    figures = _figures(record, "latent")
    for name in ("accuracy", "r2"):
        value, chance = figures.get(name), figures.get(f"chance_{name}")
        if value is not None:
            bracket = "" if chance is None else f" ({chance:.2f})"
            return Entry(f"{value:.2f}{bracket}", {name: value, f"chance_{name}": chance})
    return None


def _horizon(record: Record) -> Entry | None:
    steps = horizon_steps(record)
    if steps is None:
        return None
    exponent = _figures(record, "lyapunov")["exponent_per_step"]
    is_endless = math.isinf(steps)
    values = {"horizon_steps": None if is_endless else steps, "exponent_per_step": exponent}
    return Entry(NEVER if is_endless else f"{steps:,.0f}", values)


def learning(profile: Profile) -> list[Record]:
    """Return the records that are not rungs: of tasks at the trained length alone, over seeds."""
    on_ladder = {id(rung.record) for rung in profile.rungs}
    records = (record for study in profile.tasks for record in study.records)
    return [record for record in records if id(record) not in on_ladder]


def _learns(profile: Profile) -> Iterator[Row]:
    yield from _rows(
        "learns",
        ((setting(each), each.trial.cell, _learning_entry(each)) for each in learning(profile)),
    )


def _learning_entry(record: Record) -> Entry:
    solved = solved_of(record)
    if findings.ngram_losses(record) or solved is None:
        return _loss_entry(record)
    steps, trained = steps_to_solve(record)
    when = f"not in {trained:,.0f}" if steps is None else f"in {steps:,.0f}"
    values = {"solved": solved[0], "seeds": solved[1], "steps": steps, "steps_trained": trained}
    return Entry(f"{solved[0]}/{solved[1]} {when}", values)


def _loss_entry(record: Record) -> Entry:
    if record.status != "ok":
        return Entry(record.status.replace("_", " "), {"status": record.status})
    loss, multiple = (record.figures.get(f"loss_{name}") for name in ("validation", "ratio"))
    bracket = "" if multiple is None else f" ({ratio(multiple)})"
    values = {"loss_validation": loss, "loss_ratio": multiple}
    return Entry(f"{number(loss)}{bracket}", values)


def _speed(timed: Sequence[Record]) -> Iterator[Row]:
    settings = dict.fromkeys(setting(record) for record in timed)
    yield from _rows(
        "speed",
        (
            (
                one_line(record.trial.engine) + f", {setting(record)}" * (len(settings) > 1),
                record.trial.cell,
                _speed_entry(record),
            )
            for record in timed
        ),
    )


def limit_of(record: Record) -> tuple[str, float] | None:
    """Return the limit of a network on this machine, and the fraction of it that was reached.

    ``serial``: the chain of products that the recurrence cannot avoid; ``peak``: the rate of one
    large product, if the cell has no such chain.
    """
    for limit, name in (("serial", "fraction_of_serial_limit"), ("peak", "fraction_of_peak")):
        fraction = record.figures.get(name)
        if fraction is not None:
            return limit, float(fraction)
    return None


def _speed_entry(record: Record) -> Entry:
    if record.status != "ok":
        return Entry(record.status.replace("_", " "), {"status": record.status})
    names = ("tokens_per_second", "tokens_per_second_low", "tokens_per_second_high")
    speeds = {name: record.figures.get(name) for name in names}
    text = interval(*speeds.values())
    if "deviation" in record.details:
        text += OTHER_FUNCTION
    elif not findings.is_verified(record):
        text += UNVERIFIED
    values: Values = {**speeds, "launches": record.launches}
    limit = limit_of(record)
    if limit is not None:
        text += f"  {limit[1]:.0%} {limit[0]}"
        values |= {"limit": limit[0], "fraction_of_limit": limit[1]}
    return Entry(text, values)


def _proof(profile: Profile) -> Iterator[Row]:
    trials = {cell: _members(profile.records_of(cell)) for cell in profile.cells}
    errors = {
        cell: [
            float(error)
            for each in records
            if (error := each.figures.get("parity_error")) is not None
        ]
        for cell, records in trials.items()
    }
    deviations = {
        cell: Entry(number(max(of_cell)), {"parity_error": max(of_cell)})
        for cell, of_cell in errors.items()
        if of_cell
    }
    counts = {cell: (sum(map(is_proven, each)), len(each)) for cell, each in trials.items() if each}
    if deviations:
        yield Row("proof", "largest deviation", deviations)
    if counts:
        yield Row("proof", "trials proven", _shares(counts, "proven"))


def _shares(counts: Mapping[str, tuple[int, int]], name: str) -> dict[str, Entry]:
    """Return an entry such as ``5/8`` for each cell."""
    return {
        cell: Entry(f"{count}/{total}", {name: count, "of": total})
        for cell, (count, total) in counts.items()
    }


def _members(records: Iterable[Record]) -> list[Record]:
    return [each for record in records for each in members_of(record) if is_trained(each)]
