"""The order of launches: shuffled rounds of all trials, so that drift affects all trials alike."""

from __future__ import annotations

from collections.abc import Sequence

from harness.contract import Trial
from harness.measure.proof.streams import generator


def in_rounds(trials: Sequence[Trial], launches: int, order_seed: int) -> list[Trial]:
    """Return every trial ``launches`` times, in rounds shuffled by ``order_seed``.

    A single round keeps the plan's order: nothing is replicated that the order could bias.
    """
    if launches == 1:
        return list(trials)
    ordered: list[Trial] = []
    for number in range(launches):
        shuffled = generator(order_seed, "order", str(number)).permutation(len(trials))
        ordered += [trials[index] for index in shuffled]
    return ordered
