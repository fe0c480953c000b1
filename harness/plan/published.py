"""The settings that a task publishes, for what a combination leaves open."""

from __future__ import annotations

from harness.contract import Task, UsageError
from harness.contract.trial import steps_between_evaluations
from harness.plan.request import Combination

DECAYS = 10  # of an exponential schedule over all steps: a single period would change nothing


def published(task: Task, fields: Combination) -> Combination:
    """Return ``fields`` with the task's settings for axes that are missing, and what they imply.

    Raises:
        UsageError: ``fields`` has both steps and tokens.
    """
    defaults, fields = task.defaults, dict(fields)
    batch = fields.setdefault("batch", defaults.batch)
    tokens = fields.pop("tokens", None)
    if tokens is not None and "steps" in fields:
        problem = f"steps = {fields['steps']} and tokens = {tokens} exclude each other"
        raise UsageError(f"{problem}: leave one of them out")
    if "steps" not in fields:
        tokens = tokens or defaults.tokens
        per_step = batch * task.time_steps
        fields["steps"] = -(-tokens // per_step) if tokens else defaults.steps
    filled: Combination = {
        "hidden": defaults.hidden,
        "optimizer": defaults.optimizer,
        "learning_rate": defaults.learning_rate,
        "clip_norm": None if fields.get("clip_value") is not None else defaults.clip_norm,
        "embedding": defaults.embedding,
        "forget_bias": None if fields.get("chrono") is not None else defaults.forget_bias,
    }
    steps = fields["steps"]
    filled["evaluate_every"] = steps_between_evaluations(steps) if isinstance(steps, int) else 0
    if fields.get("schedule", "constant") != "constant":
        decays = DECAYS if fields["schedule"] == "exponential" and isinstance(steps, int) else 1
        filled["schedule_steps"] = max(1, steps // decays) if decays > 1 else steps
    return filled | fields
