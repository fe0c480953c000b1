"""Serial against parallel in time: how much faster all steps at once are, by length. Nothing is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.contract.records.record import Record
from harness_results.study.networks import in_order, networks
from harness_results.study.verdicts.faster import effect_of
from harness_results.study.verdicts.multiple import corrected
from harness_results.text.format import UNKNOWN, number
from harness_results.text.grid import Grid

PARALLEL = (
    "parallel",
    "deer",
)  # what the names of variants that take all time steps at once begin with
NOTE = (
    "seconds per step of the backend's serial variant with the shortest step / of the parallel one, medians · faster "
    "from: the T from which on parallel is faster by the rule of harness compare, at every longer T measured"
)
Labels = tuple[str, ...]


@dataclass(frozen=True)
class Crossover:
    """One parallel variant beside the serial ones of its backend.

    Attributes:
        labels: of the network, and the parallel engine.
        ratios: seconds per step of the quickest serial variant / of the parallel one, by length
            where both are known.
        verdicts: of the parallel variant against that serial one, by length.
    """

    labels: Labels
    ratios: Mapping[int, float]
    verdicts: Mapping[int, str]

    @property
    def faster_from(self) -> int | None:
        """The shortest length from which on the parallel variant is faster; None: not at the longest."""
        found = None
        for length in sorted(self.verdicts, reverse=True):
            if self.verdicts[length] != "faster":
                break
            found = length
        return found

    @property
    def in_words(self) -> str:
        """From which length on the parallel variant is faster."""
        if self.faster_from is not None:
            return f"T={self.faster_from}"
        return "cannot tell" if self.verdicts[max(self.verdicts)] == "cannot_tell" else "never"


def is_parallel(variant: str) -> bool:
    """Say whether a variant takes all time steps at once, by its name."""
    return variant.startswith(PARALLEL)


def crossovers(records: Sequence[Record]) -> list[Crossover]:
    """Return one for each network and parallel variant of which a serial variant was measured too."""
    serial: dict[tuple[Labels, str, int], Record] = {}
    parallel: dict[Labels, dict[int, Record]] = {}
    if not any(is_parallel(record.trial.variant) for record in records):
        return []
    labels = networks(records).labels
    for record, label in zip(records, labels, strict=True):
        trial = record.trial
        if record.status != "ok" or not _seconds(record):
            continue
        if is_parallel(trial.variant):
            parallel.setdefault(label, {})[trial.length] = record
        else:
            key = (label[:-1], trial.backend, trial.length)
            serial[key] = min(record, serial.get(key, record), key=_seconds)
    pairs = {label: _pairs(label, parallel[label], serial) for label in in_order(list(parallel))}
    effects = iter(
        corrected([effect_of(*pair) for by_length in pairs.values() for pair in by_length.values()])
    )
    crossings = []
    for label, by_length in pairs.items():
        ratios = {
            length: _seconds(slow) / _seconds(fast) for length, (slow, fast) in by_length.items()
        }
        verdicts = {length: next(effects).verdict for length in by_length}
        crossings += [Crossover(label, ratios, verdicts)] if by_length else []
    return crossings


def crossover_table(records: Sequence[Record]) -> Grid | None:
    """Return the table of the records of one task; None where no network was measured both ways."""
    found = crossovers(records)
    if not found:
        return None
    lengths = sorted({length for one in found for length in one.ratios})
    return Grid(
        title=f"{records[0].trial.task}: serial against parallel in time",
        axes=networks(records).axes,
        columns=(*(f"T={length}" for length in lengths), "faster from"),
        rows=tuple((one.labels, _cells(one, lengths)) for one in found),
        notes=(NOTE,),
    )


def _pairs(
    label: Labels, parallel: Mapping[int, Record], serial: Mapping[tuple[Labels, str, int], Record]
) -> dict[int, tuple[Record, Record]]:
    """Return the serial and the parallel record at each length that has both."""
    keys = {
        length: (label[:-1], record.trial.backend, length) for length, record in parallel.items()
    }
    return {
        length: (serial[keys[length]], parallel[length])
        for length in sorted(parallel)
        if keys[length] in serial
    }


def _seconds(record: Record) -> float:
    return float(record.figures.get("step_seconds_median") or 0.0)


def _cells(one: Crossover, lengths: Sequence[int]) -> tuple[str, ...]:
    ratios = (
        UNKNOWN if (ratio := one.ratios.get(length)) is None else number(ratio)
        for length in lengths
    )
    return (*ratios, one.in_words)
