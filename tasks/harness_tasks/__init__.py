"""The tasks of the harness, offered as a plugin like any other. No framework is imported here."""

from collections.abc import Sequence

from harness.contract import Task, hookimpl
from harness_tasks.adding import Adding
from harness_tasks.char import Char
from harness_tasks.copying import Copy

__all__ = ["Adding", "Char", "Copy", "harness_tasks"]


@hookimpl
def harness_tasks() -> Sequence[type[Task]]:
    """Offer char, copy and adding."""
    return [Char, Copy, Adding]
