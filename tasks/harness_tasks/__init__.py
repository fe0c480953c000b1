"""The tasks of the harness, offered as a plugin like any other. No framework is imported here."""

from collections.abc import Sequence

from harness.contract import Task, hookimpl
from harness_tasks.algorithmic.adding import Adding
from harness_tasks.algorithmic.copying import Copy
from harness_tasks.formal.counting import Counting
from harness_tasks.formal.dyck import Dyck
from harness_tasks.formal.products import Parity, WordProblem
from harness_tasks.texts.char import Char

__all__ = ["Adding", "Char", "Copy", "Counting", "Dyck", "Parity", "WordProblem", "harness_tasks"]


@hookimpl
def harness_tasks() -> Sequence[type[Task]]:
    """Offer char, copy, adding, parity, word_problem, dyck and counting."""
    return [Char, Copy, Adding, Parity, WordProblem, Dyck, Counting]
