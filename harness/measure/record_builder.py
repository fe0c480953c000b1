"""Builds a record from events alone, in the worker and, if the worker is lost, in its parent."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import dropwhile
from statistics import fmean, median
from typing import Any

from harness.contract import Evaluation, Record, Trial
from harness.contract.records.columns import names_of
from harness.contract.records.explosion import is_exploding
from harness.contract.records.record import Figure, finite
from harness.contract.wording import shortened
from harness.measure.events import Evaluated, Event, Facts, Progress, Sampled, SetsEvaluated
from harness.measure.timing.speed import SPEED_CURVES, SPEED_DETAILS
from harness.version import __version__

SPEED = names_of("speed")

FINAL_FRACTION = 0.05  # ``loss_final`` is the mean loss of these last training steps
Series = list[float | None]


@dataclass
class RecordBuilder:
    """Collects the events of one trial. ``record`` may be called at any time.

    Figures of the whole training (``loss_final``, validation, speeds and their blocks) are in the
    record only if the status is ok.
    """

    trial: Trial
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    figures: dict[str, Figure] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    environment_id: str | None = None
    losses: Series = field(default_factory=list)
    norms: Series = field(default_factory=list)
    clipped: list[bool] = field(default_factory=list)
    evaluations: list[Evaluated] = field(default_factory=list)
    texts: list[Sampled] = field(default_factory=list)
    sets: list[SetsEvaluated] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Add the content of an event."""
        if isinstance(event, Progress):
            self.losses += event.losses
            self.norms += event.norms
            self.clipped += event.clipped
            self.figures["peak_memory_bytes"] = event.peak_memory_bytes
        elif isinstance(event, Evaluated):
            self.evaluations.append(event)
        elif isinstance(event, Sampled):
            self.texts.append(event)
            self.details["samples_over_training"] = [asdict(text) for text in self.texts]
        elif isinstance(event, SetsEvaluated):
            self.sets.append(event)
        elif isinstance(event, Facts):
            self.figures |= event.figures
            self.curves |= event.curves
            self.details |= event.details
            self.environment |= event.environment
            self.environment_id = event.environment_id or self.environment_id

    def record(self, status: str, reason: str | None = None, **details: Any) -> Record:
        """Return the record of all events so far, with further ``details``."""
        figures = self.figures | self._gradient_figures()
        if self.losses:
            figures["loss_initial"] = self.losses[0]
        if status == "ok":
            figures |= self._final_figures()
        else:
            figures = {name: value for name, value in figures.items() if name not in SPEED}
        curves = dict(self.curves)
        if self.losses:
            curves |= {"loss": self.losses, "gradient_norm": self.norms}
        if self.evaluations:
            curves["evaluations"] = [finite(asdict(item.evaluation)) for item in self.evaluations]
        if self.sets:
            curves["evaluation_sets"] = [entry for event in self.sets for entry in event.sets]
        curves, own_details = finite(curves), self.details
        if status != "ok":
            curves = {name: curve for name, curve in curves.items() if name not in SPEED_CURVES}
            own_details = {
                name: detail for name, detail in own_details.items() if name not in SPEED_DETAILS
            }
        exploding = {"gradient_exploding": is_exploding(status, finite(figures), curves)}
        return Record(
            trial=self.trial,
            status=status,
            reason=shortened(reason) if reason else reason,
            figures=figures,
            curves=curves,
            details=finite(own_details | self._learning() | exploding | details),
            environment=self.environment,
            environment_id=self.environment_id,
            started_at=self.started_at,
            harness_version=__version__,
        )

    def _gradient_figures(self) -> dict[str, Figure]:
        norms = [norm for norm in self.norms if norm is not None]
        if not norms:
            return {}
        return {
            "gradient_norm_first": self.norms[0],
            "gradient_norm_median": median(norms),
            "gradient_norm_max": max(norms),
            "gradient_norm_last": self.norms[-1],
            "clipped_fraction": fmean(self.clipped),
        }

    def _final_figures(self) -> dict[str, Figure]:
        last = self.losses[-max(1, round(FINAL_FRACTION * len(self.losses))) :]
        loss_final = fmean(loss for loss in last if loss is not None)
        figures: dict[str, Figure] = {"loss_final": loss_final}
        if self.evaluations:
            final, baseline = self.evaluations[-1], self.figures.get("loss_baseline")
            loss = final.evaluation.loss_validation
            solved_steps = [step for step, solved in self._verdicts() if solved]
            figures["loss_validation"] = loss
            figures["loss_ratio"] = loss / baseline if baseline else None
            figures["accuracy"] = final.evaluation.accuracy
            figures["solved"] = final.solved
            figures["steps_to_solve"] = solved_steps[0] if solved_steps else None
        return figures

    def _learning(self) -> dict[str, Any]:
        """Return the overfitting gap and its error, the best validation, and the scores.

        The best is of evaluations on the same data.
        """
        if not self.evaluations:
            return {}
        last = self.evaluations[-1].evaluation
        entries = [item.evaluation for item in self.evaluations]
        alike = [item for item in entries if item.tokens_validation == entries[0].tokens_validation]
        best = min(alike, key=_validation)
        gap = None if last.loss_train_eval is None else _validation(last) - last.loss_train_eval
        errors = (last.standard_error_validation, last.standard_error_train_eval)
        gap_error = None if None in errors else math.hypot(*filter(None, errors))
        return {
            "overfitting_gap": gap,
            "overfitting_gap_error": gap_error,
            "best_step": best.step,
            "best_loss_validation": best.loss_validation,
            "scores": dict(last.extra),
            "solved_lost_at": self._lost_at(),
        }

    def _lost_at(self) -> int | None:
        """Return the step of the first unsolved evaluation after ``steps_to_solve``, if any."""
        since = dropwhile(lambda verdict: not verdict[1], self._verdicts())
        return next((step for step, solved in since if not solved), None)

    def _verdicts(self) -> list[tuple[int, bool]]:
        """Return the steps of evaluations, and whether they solved the task.

        At the end the evaluation in full decides. If it contradicts a sample that was solved, the
        verdicts on the samples before do not count either.
        """
        verdicts: dict[int, bool] = {}
        for item in self.evaluations:
            if verdicts.get(item.evaluation.step) and not item.solved:
                verdicts.clear()
            verdicts[item.evaluation.step] = item.solved
        return list(verdicts.items())


def _validation(evaluation: Evaluation) -> float:
    loss: float | None = evaluation.loss_validation  # None: it was not finite, and came as JSON
    return math.inf if loss is None or math.isnan(loss) else loss
