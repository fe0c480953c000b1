"""Serial against parallel in time: how much faster all steps at once are, by length. Nothing is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.contract.record import Record
from harness_results.grid import Grid
from harness_results.networks import in_order, networks
from harness_results.text import UNKNOWN, number

PARALLEL = ("parallel", "deer")  # what the names of variants that take all time steps at once begin with
NOTE = (
    "seconds per step of the backend's fastest serial variant / of the parallel one: above 1 parallel is faster · "
    "faster from: the T from which on it is, at every longer T measured"
)
Labels = tuple[str, ...]


@dataclass(frozen=True)
class Crossover:
    """One parallel variant beside the serial ones of its backend.

    Attributes:
        labels: of the network, and the parallel engine.
        ratios: seconds per step of the fastest serial variant / of the parallel one, by length where both are known.
    """

    labels: Labels
    ratios: Mapping[int, float]

    @property
    def faster_from(self) -> int | None:
        """The shortest length from which on the parallel variant is faster; None: not at the longest."""
        found = None
        for length in sorted(self.ratios, reverse=True):
            if self.ratios[length] <= 1:
                break
            found = length
        return found


def is_parallel(variant: str) -> bool:
    """Say whether a variant takes all time steps at once, by its name."""
    return variant.startswith(PARALLEL)


def crossovers(records: Sequence[Record]) -> list[Crossover]:
    """Return one for each network and parallel variant of which a serial variant was measured too."""
    serial: dict[tuple[Labels, str, int], float] = {}
    parallel: dict[Labels, tuple[str, dict[int, float]]] = {}
    if not any(is_parallel(record.trial.variant) for record in records):
        return []
    labels = networks(records).labels
    for record, label in zip(records, labels, strict=True):
        trial, seconds = record.trial, record.figures.get("step_seconds_median")
        if record.status != "ok" or not seconds:
            continue
        if is_parallel(trial.variant):
            parallel.setdefault(label, (trial.backend, {}))[1][trial.length] = float(seconds)
        else:
            key = (label[:-1], trial.backend, trial.length)
            serial[key] = min(float(seconds), serial.get(key, float("inf")))
    found = [Crossover(label, _ratios(label, *parallel[label], serial)) for label in in_order(list(parallel))]
    return [one for one in found if one.ratios]


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


def _ratios(
    label: Labels, backend: str, seconds: Mapping[int, float], serial: Mapping[tuple[Labels, str, int], float]
) -> dict[int, float]:
    keys = {length: (label[:-1], backend, length) for length in seconds}
    return {length: serial[keys[length]] / seconds[length] for length in sorted(seconds) if keys[length] in serial}


def _cells(one: Crossover, lengths: Sequence[int]) -> tuple[str, ...]:
    ratios = (UNKNOWN if (ratio := one.ratios.get(length)) is None else number(ratio) for length in lengths)
    return (*ratios, "never" if one.faster_from is None else f"T={one.faster_from}")
