"""Serial against parallel in time: how much faster all steps at once are, by length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.contract.records.record import Record
from harness_results.study.networks import Labels, in_order
from harness_results.study.study import Study
from harness_results.study.verdicts.faster import effect_of
from harness_results.study.verdicts.multiple import corrected
from harness_results.text.format import UNKNOWN, number
from harness_results.text.grid import Grid

# Variants whose names begin like this compute all time steps at once.
PARALLEL = ("parallel", "deer")
NOTE = (
    "seconds per step of the backend's serial variant with the shortest step / of the parallel "
    "one, medians · faster from: the T from which on parallel is faster by the rule of harness "
    "compare, at every longer T measured"
)


@dataclass(frozen=True)
class Crossover:
    """A parallel variant against the serial variants of its backend.

    Attributes:
        labels: of the network, and the parallel engine.
        ratios: length -> seconds per step of the quickest serial variant / of the parallel one.
        verdicts: length -> verdict on the parallel variant against that serial one.
    """

    labels: Labels
    ratios: Mapping[int, float]
    verdicts: Mapping[int, str]

    @property
    def faster_from(self) -> int | None:
        """The length from which on parallel is always faster; None: it is not at the longest."""
        shortest = None
        for length in sorted(self.verdicts, reverse=True):
            if self.verdicts[length] != "faster":
                break
            shortest = length
        return shortest

    @property
    def in_words(self) -> str:
        """From which length on the parallel variant is faster."""
        if self.faster_from is not None:
            return f"T={self.faster_from}"
        return "cannot tell" if self.verdicts[max(self.verdicts)] == "cannot_tell" else "never"

    def cells(self, lengths: Sequence[int]) -> tuple[str, ...]:
        """Return the row of the table."""
        ratios = [self.ratios.get(length) for length in lengths]
        texts = [UNKNOWN if ratio is None else number(ratio) for ratio in ratios]
        return (*texts, self.in_words)


def is_parallel(variant: str) -> bool:
    """Say whether a variant takes all time steps at once, by its name."""
    return variant.startswith(PARALLEL)


def crossovers(study: Study) -> list[Crossover]:
    """Return a crossover per network and parallel variant that has a serial variant to compare."""
    if not any(is_parallel(record.trial.variant) for record in study.records):
        return []
    serial: dict[tuple[Labels, str, int], Record] = {}
    parallel: dict[Labels, dict[int, Record]] = {}
    for labels, record in study.labelled:
        trial = record.trial
        if record.status != "ok" or not _seconds(record):
            continue
        if is_parallel(trial.variant):
            parallel.setdefault(labels, {})[trial.length] = record
        else:
            key = (labels[:-1], trial.backend, trial.length)
            serial[key] = min(record, serial.get(key, record), key=_seconds)
    pairs = {labels: _pairs(labels, parallel[labels], serial) for labels in in_order(parallel)}
    compared = [effect_of(*pair) for by_length in pairs.values() for pair in by_length.values()]
    effects = iter(corrected(compared))
    crossings = []
    for labels, by_length in pairs.items():
        ratios = {n: _seconds(slow) / _seconds(fast) for n, (slow, fast) in by_length.items()}
        verdicts = {n: next(effects).verdict for n in by_length}
        if by_length:
            crossings.append(Crossover(labels, ratios, verdicts))
    return crossings


def crossover_table(study: Study) -> Grid | None:
    """Return the table of a task; None if no network was measured both ways."""
    crossings = crossovers(study)
    if not crossings:
        return None
    lengths = sorted({length for crossing in crossings for length in crossing.ratios})
    return Grid(
        title=f"{study.task}: serial against parallel in time",
        axes=study.networks.axes,
        columns=(*(f"T={length}" for length in lengths), "faster from"),
        rows=tuple((crossing.labels, crossing.cells(lengths)) for crossing in crossings),
        notes=(NOTE,),
    )


def _pairs(
    labels: Labels, parallel: Mapping[int, Record], serial: Mapping[tuple[Labels, str, int], Record]
) -> dict[int, tuple[Record, Record]]:
    """Return the serial and the parallel record at each length that has both."""
    pairs = {}
    for length, record in sorted(parallel.items()):
        rival = serial.get((labels[:-1], record.trial.backend, length))
        if rival is not None:
            pairs[length] = (rival, record)
    return pairs


def _seconds(record: Record) -> float:
    return float(record.figures.get("step_seconds_median") or 0.0)
