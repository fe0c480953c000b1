"""The trials that tests begin with: complete, small, and changed by what a test is about."""

from typing import Any

from harness.contract import Trial


def trial_of(engine: str = "numpy:loop", **settings: Any) -> Trial:
    """Return a trial of ``BACKEND:VARIANT`` on the copy task; settings replace any field."""
    backend, variant = engine.split(":")
    defaults = {"backend": backend, "variant": variant, "task": "copy", "cell": "lstm"}
    return Trial(**(defaults | {"length": 20} | settings))


def small_trial(engine: str = "numpy:vectorised", **settings: Any) -> Trial:
    """Return a trial that a worker measures at once: few time steps, numbers and updates."""
    small = {"cell": "rnn", "length": 3, "hidden": 4, "batch": 2, "steps": 8}
    return trial_of(engine, **(small | settings))
