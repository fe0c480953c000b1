"""One statement of a recurrence, and what is derived from it: its graph, reverse and scan form.

``derive(cell)`` calls the cell's ``step`` once on symbols. Engines compute with the result, or
write code from its graph.
"""

from harness.recurrence.derived import Gradient, Recurrence, derive, evaluate
from harness.recurrence.graph import Node, reachable
from harness.recurrence.reverse import Anchor, Back, Reverse, Term
from harness.recurrence.trace import step_of

__all__ = [
    "Anchor",
    "Back",
    "Gradient",
    "Node",
    "Recurrence",
    "Reverse",
    "Term",
    "derive",
    "evaluate",
    "reachable",
    "step_of",
]
