"""The order of launches: every trial once per round, each round shuffled, so that drift hits all trials alike."""

from __future__ import annotations

from collections.abc import Sequence

from harness.contract import Trial
from harness.measure.proof.streams import generator


def in_rounds(trials: Sequence[Trial], launches: int, order_seed: int) -> list[Trial]:
    """Return every trial ``launches`` times, in rounds shuffled by ``order_seed``; one round keeps the plan's order.

    With one round nothing is replicated that an order could bias, and the plan's order is the one
    to read.
    """
    if launches == 1:
        return list(trials)
    ordered: list[Trial] = []
    for number in range(launches):
        shuffled = generator(order_seed, "order", str(number)).permutation(len(trials))
        ordered += [trials[index] for index in shuffled]
    return ordered
