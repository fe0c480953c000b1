"""The ladder: which tasks a network solves at every length at which it was judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.contract.records.record import Record
from harness_results.study.networks import option_axis, setting_in_words
from harness_results.study.seeds.evaluated import by_column, median_of
from harness_results.study.seeds.summary import solved_everywhere, solved_of
from harness_results.study.study import Study
from harness_results.text.format import one_line

SHARE = 0.8  # of the seeds that must solve a rung: four of five
FEWEST_SEEDS = 5  # with fewer, no rung counts as climbed


@dataclass(frozen=True)
class Rung:
    """How many seeds of a network solve one rung of the ladder: a task with its options.

    Attributes:
        record: of the network; several seeds of it may be one record.
        network: the cell and what else varies, in words.
        name: the task, with those options in which the records of it differ.
        lengths: at which the network was judged, ascending; the trained one is among them.
        solved: seeds that solve the task at every one of these lengths.
        seeds: all seeds.
        accuracy: at the longest length, the median over seeds; None: it is not known.
    """

    record: Record
    network: str
    name: str
    lengths: tuple[int, ...]
    solved: int
    seeds: int
    accuracy: float | None

    @property
    def is_climbed(self) -> bool:
        """Whether at least four of five seeds solve it."""
        return self.seeds >= FEWEST_SEEDS and self.solved >= SHARE * self.seeds


def rungs_of(tasks: Sequence[Study]) -> list[Rung]:
    """Return each rung of each network that was judged at other lengths.

    The rungs have the order of the records. Tasks without a criterion are no rungs.
    """
    return [rung for study in tasks for rung in _rungs(study)]


def _rungs(study: Study) -> Iterator[Rung]:
    has_criterion = any(map(solved_of, study.records))
    options = _varying_options(study.records)
    of_rung = {option_axis(name) for name in options}
    axes = study.networks.axes[1:-1]
    for labels, record in study.labelled:
        if not (has_criterion and record.trial.evaluate_at):
            continue
        words = (
            f"{axis} {label}"
            for axis, label in zip(axes, labels[1:-1], strict=True)
            if axis not in of_rung
        )
        lengths = tuple(sorted({record.trial.length, *record.trial.evaluate_at}))
        seeds = by_column(record).get(lengths[-1])
        solved, total = solved_everywhere(record)
        yield Rung(
            record=record,
            network=" · ".join((one_line(record.trial.cell), *words)),
            name=_name(study, record, options),
            lengths=lengths,
            solved=solved,
            seeds=total,
            accuracy=median_of(seeds, "accuracy") if seeds else None,
        )


def _varying_options(records: Sequence[Record]) -> list[str]:
    """Return the options of the task in which these records differ."""
    contents = [record.trial.task_options for record in records]
    names = dict.fromkeys(name for options in contents for name in options)
    return [name for name in names if len({str(options.get(name)) for options in contents}) > 1]


def _name(study: Study, record: Record, options: Sequence[str]) -> str:
    """Return the name of a rung: options that are numbers need their names."""
    words = [one_line(study.task)]
    for name in options:
        value = record.trial.task_options.get(name)
        text = setting_in_words(value)
        words.append(text if isinstance(value, str) else f"{option_axis(name)} {text}")
    if len(study.lengths) > 1:
        words.append(f"T = {record.trial.length}")
    return " ".join(words)
