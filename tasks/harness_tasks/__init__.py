"""The tasks of the harness, offered as a plugin like any other. No framework is imported here."""

from collections.abc import Sequence

from harness.contract import Task, hookimpl
from harness_tasks.algorithmic.adding import Adding
from harness_tasks.algorithmic.copying import Copy
from harness_tasks.texts.char import Char

__all__ = ["Adding", "Char", "Copy", "harness_tasks"]


@hookimpl
def harness_tasks() -> Sequence[type[Task]]:
    """Offer char, copy and adding."""
    return [Char, Copy, Adding]
