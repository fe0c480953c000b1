"""What a record says about its network: learning, gradients, over-fitting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

from harness.contract.records.explosion import EXPLODING_DECAY, EXPLODING_NORM
from harness.contract.records.record import HORIZON_FRACTION, Record
from harness.contract.wording import counted
from harness_results.text.format import number, one_line

LOSS_UNITS = {
    "cross_entropy": "nats",
    "squared_error": "squared error",
    "binary_cross_entropy": "nats per output",
}
# |loss ratio - 1| up to which a network has learnt nothing; validation on `adding` scatters by 4 %
AT_BASELINE = 0.05
HORIZON = f"{100 * HORIZON_FRACTION:g} %"  # of its value at lag 0, in words
VANISHING_FRACTION = 0.5  # of T: a shorter horizon cannot carry what the task needs
EXPLODES = (
    f"by over {EXPLODING_DECAY - 1:.0%} per step back, or its norm {EXPLODING_NORM:g}-fold "
    "in training"
)
UNNAMED = "baseline"
NOTABLE_GAP = 0.05  # of the training loss
NOTABLE_OF_BASELINE = 0.01  # a smaller gap, as a fraction of the baseline, is noise
NOTABLE_ERRORS = 3.0  # standard errors of the gap: below it the two samples may differ by chance


@dataclass(frozen=True)
class Overfitting:
    """Validation loss above the loss on training data, both with dropout off."""

    validation: float
    training: float
    best_step: int  # of the best validation loss, before the end

    def words(self) -> str:
        """Return it as part of a sentence."""
        losses = f"validation {number(self.validation)}, training data {number(self.training)}"
        return f"{losses}; validation was best at step {self.best_step}"


def ngram_losses(record: Record) -> dict[str, float]:
    """Return the losses of the n-gram models of a text task, the simplest first; {} elsewhere."""
    facts = record.details.get("task")
    losses = facts.get("ngram_losses") if isinstance(facts, Mapping) else None
    by_name = losses if isinstance(losses, Mapping) else {}
    return {str(name): loss for name, loss in by_name.items() if isinstance(loss, int | float)}


def baseline_name(record: Record) -> str:
    """Return what the baseline is: ``trigram`` on a text, ``UNNAMED`` if the task has no name."""
    losses = ngram_losses(record)
    facts = record.details.get("task")
    name = facts.get("baseline_name") if isinstance(facts, Mapping) else None
    if isinstance(name, str) and name:
        return one_line(name)
    return one_line(min(losses, key=losses.__getitem__)) if losses else UNNAMED


def shared_baseline_name(records: Iterable[Record]) -> str:
    """Return the name of these records' baseline; ``baseline`` if they have several."""
    names = baseline_names(records)
    return names[0] if len(names) == 1 else UNNAMED


def baseline_names(records: Iterable[Record]) -> list[str]:
    """Return the names of the baselines of the records that were measured against one."""
    measured = (
        record
        for record in records
        if {record.figures.get("loss_ratio"), record.figures.get("loss_baseline")} != {None}
    )
    return list(dict.fromkeys(map(baseline_name, measured)))


def bits_per_symbol(record: Record) -> float | None:
    """Return the validation loss of a text task in bits; None elsewhere."""
    loss = record.figures.get("loss_validation")
    return None if loss is None or not ngram_losses(record) else loss / math.log(2)


def symbol(record: Record) -> str:
    """Return what the network of a text reads at a time step: ``character``, ``byte``, ``word``."""
    facts = record.details.get("task")
    vocabulary = facts.get("vocabulary") if isinstance(facts, Mapping) else None
    return {"bytes": "byte", "words": "word"}.get(str(vocabulary), "character")


def loss_unit(record: Record) -> str:
    """Return the unit of the losses; both units if an older record does not say."""
    if ngram_losses(record):
        return f"nats per {symbol(record)}"
    return LOSS_UNITS.get(str(record.details.get("loss")), "nats, or squared error")


def rank(record: Record, figure: str = "loss_validation") -> float:
    """Return a loss to order records by; infinite if it is unknown."""
    loss = record.figures.get(figure)
    return math.inf if loss is None else float(loss)


def at_baseline(record: Record) -> bool:
    """Say whether a synthetic task's network does what the trivial predictor does."""
    ratio = record.figures.get("loss_ratio")
    return ratio is not None and abs(ratio - 1) <= AT_BASELINE and not ngram_losses(record)


def is_censored(record: Record) -> bool:
    """Say whether the gradient never fell below 1 %: the true horizon is longer."""
    censored = record.details.get("gradient_horizon_censored")
    if isinstance(censored, bool):
        return censored
    flow = record.curves.get("gradient_flow")
    measured = (flow.get("final") or flow.get("initial")) if isinstance(flow, Mapping) else None
    return bool(measured.get("censored")) if isinstance(measured, Mapping) else False


def reach(record: Record) -> float:
    """Return how many time steps the gradient reaches back; infinite if it never fell below 1 %."""
    if is_censored(record):
        return math.inf
    return float(record.figures.get("gradient_horizon") or 0.0)


def reach_in_words(steps: float) -> str:
    """Return ``all the way``, or the number of time steps."""
    return "all the way" if math.isinf(steps) else counted(round(steps), "step")


def cells_by_reach(cells: Mapping[str, Sequence[Record]]) -> tuple[dict[str, list[str]], str]:
    """Return how far the gradient reaches back -> its cells, and `` (medians)`` or nothing.

    Args:
        cells: cell -> its records, of one length. Several count by their median.
    """
    steps = {cell: median_low(map(reach, records)) for cell, records in cells.items()}
    by_reach: dict[str, list[str]] = {}
    for cell in sorted(steps, key=lambda cell: -steps[cell]):
        by_reach.setdefault(reach_in_words(steps[cell]), []).append(one_line(cell))
    return by_reach, " (medians)" if any(len(some) > 1 for some in cells.values()) else ""


def is_vanishing(record: Record) -> bool:
    """Say whether the trained network's gradient is gone before half of the length."""
    horizon = record.figures.get("gradient_horizon")
    if record.status != "ok" or horizon is None or is_exploding(record) or is_censored(record):
        return False
    return horizon < VANISHING_FRACTION * record.trial.length


def is_exploding(record: Record) -> bool:
    """Say whether the gradient explodes in training or on its way back."""
    return bool(record.exploding())


def is_of_earlier_rules(record: Record) -> bool:
    """Say whether an earlier version measured it, by other rules of speed and horizon."""
    return "phase_seconds" in record.details and "gradient_horizon_step" not in record.details


def is_verified(record: Record) -> bool:
    """Say whether loss and gradients were compared with the reference."""
    return record.figures.get("parity_error") is not None


def overfitting(record: Record) -> Overfitting | None:
    """Return the over-fitting if it is notable: a gap, and a better validation loss before.

    A gap alone is not over-fitting: held-out text may be harder than the training text. Data that
    never repeat cannot be over-fitted. None for records without ``steps_per_epoch`` or without the
    standard error of the gap.
    """
    gap, error = (detail(record, name) for name in ("overfitting_gap", "overfitting_gap_error"))
    epoch, validation = detail(record, "steps_per_epoch"), record.figures.get("loss_validation")
    if gap is None or error is None or epoch is None or validation is None:
        return None
    if record.trained_steps() <= epoch:
        return None
    training = validation - gap
    baseline = record.figures.get("loss_baseline") or 0.0
    noise = max(NOTABLE_ERRORS * error, NOTABLE_OF_BASELINE * baseline)
    if training <= 0 or gap <= max(NOTABLE_GAP * training, noise):
        return None
    best = record.details.get("best_step")
    if not isinstance(best, int) or best >= record.trained_steps():
        return None
    return Overfitting(validation, training, best)


def detail(record: Record, name: str) -> float | None:
    """Return a detail if it is a finite number; None otherwise."""
    value = record.details.get(name)
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def exact_baseline(record: Record) -> float | None:
    """Return the baseline's loss over all sequences; older records have the loss on batches."""
    exact = detail(record, "loss_baseline_exact")
    return record.figures.get("loss_baseline") if exact is None else exact


def scores(record: Record) -> dict[str, float]:
    """Return the further scores of the task after training, such as ``exact_match``."""
    content = record.details.get("scores")
    content = content if isinstance(content, Mapping) else {}
    return {str(name): value for name, value in content.items() if isinstance(value, int | float)}


def criterion(record: Record) -> str:
    """Return what ``solved`` asks for; empty if the task does not say."""
    text = record.details.get("criterion")
    return text if isinstance(text, str) else ""


def lost_again(record: Record) -> str | None:
    """Return in words when the task was solved and then lost again; None if it stayed solved."""
    first, lost = record.figures.get("steps_to_solve"), record.details.get("solved_lost_at")
    if first is None or not isinstance(lost, int):
        return None
    end = "solved at the end" if record.figures.get("solved") else "not solved at the end"
    return f"solved first at step {first:g}, no longer at step {lost}, {end}"


def flags(record: Record) -> list[str]:
    """Return what a reader must know before believing the record."""
    lists = (record.details.get(name) for name in ("flags", "notes"))
    return [str(flag) for some in lists if isinstance(some, list | tuple) for flag in some]


def is_warming_up(record: Record) -> bool:
    """Say whether the warm-up ended before block times were flat, in any launch."""
    return any("warm-up ended" in flag for flag in flags(record))
