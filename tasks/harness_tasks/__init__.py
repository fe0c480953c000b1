"""The tasks of the harness, and suites of them: a plugin like any other.

No framework is imported here.
"""

from collections.abc import Sequence
from pathlib import Path

from harness.contract import Suite, Task, hookimpl
from harness_tasks.algorithmic.adding import Adding
from harness_tasks.algorithmic.copying import Copy, SelectiveCopy
from harness_tasks.algorithmic.recall import AssociativeRecall
from harness_tasks.algorithmic.temporal_order import TemporalOrder
from harness_tasks.formal.counting import Counting
from harness_tasks.formal.dyck import Dyck
from harness_tasks.formal.products import Parity, WordProblem
from harness_tasks.signals.digits import Digits
from harness_tasks.signals.forecast import Forecast
from harness_tasks.texts.char import Char
from harness_tasks.texts.words import Words

__all__ = [
    "Adding",
    "AssociativeRecall",
    "Char",
    "Copy",
    "Counting",
    "Digits",
    "Dyck",
    "Forecast",
    "Parity",
    "SelectiveCopy",
    "TemporalOrder",
    "WordProblem",
    "Words",
    "harness_suites",
    "harness_tasks",
]


@hookimpl
def harness_tasks() -> Sequence[type[Task]]:
    """Offer every task of this package."""
    algorithmic = [Copy, SelectiveCopy, Adding, TemporalOrder, AssociativeRecall]
    return [Char, Words, *algorithmic, Parity, WordProblem, Dyck, Counting, Digits, Forecast]


@hookimpl
def harness_suites() -> Sequence[Suite]:
    """Offer the plans of this package."""
    names = ("ladder", "profile", "speed")
    return [Suite(name, Path(__file__).with_name(f"{name}.toml")) for name in names]
