"""The settings that a task publishes, for what a combination leaves open."""

from __future__ import annotations

from harness.contract import Task
from harness.contract.trial import steps_between_evaluations
from harness.plan.request import Combination

DECAYS = 10  # of an exponential schedule over all steps: a single period would change nothing


def published(task_class: type[Task], fields: Combination) -> Combination:
    """Return the task's settings for axes that ``fields`` may lack, and what they imply."""
    defaults = task_class.defaults
    filled: Combination = {
        "hidden": defaults.hidden,
        "batch": defaults.batch,
        "steps": defaults.steps,
        "optimizer": defaults.optimizer,
        "learning_rate": defaults.learning_rate,
        "clip_norm": None if fields.get("clip_value") is not None else defaults.clip_norm,
    }
    steps = fields.get("steps", defaults.steps)
    filled["evaluate_every"] = steps_between_evaluations(steps) if isinstance(steps, int) else 0
    if fields.get("schedule", "constant") != "constant":
        decays = DECAYS if fields["schedule"] == "exponential" and isinstance(steps, int) else 1
        filled["schedule_steps"] = max(1, steps // decays) if decays > 1 else steps
    return filled
