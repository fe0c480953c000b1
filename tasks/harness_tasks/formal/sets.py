"""The base of tasks whose target is a set: which symbols may come next."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Batch, Loss, Score
from harness_tasks.sequences import SequenceTask

LEAST_CHANCE = 1e-15  # keeps the logits of the baseline finite


class Chances(NamedTuple):
    """What is known of the sets before a sequence is read.

    Attributes:
        members: (T, K) chance that a symbol is in the set, at each scored step.
        scored: (T,) chance that the step is scored.
    """

    members: NDArray[np.float64]
    scored: NDArray[np.float64]


class NextSymbolTask(SequenceTask):
    """After each symbol, say which symbols may follow: k-hot targets, binary cross-entropy.

    Accuracy counts the sequences all of whose sets are right, as in Gers & Schmidhuber 2001;
    ``every_step`` counts single sets.
    """

    accuracy_in_words = "share of sequences with all sets right"

    @property
    def time_steps(self) -> int:
        """T."""
        return self.length

    @property
    def loss(self) -> Loss:
        """Binary cross-entropy of each symbol."""
        return "binary_cross_entropy"

    @abstractmethod
    def chances(self) -> Chances:
        """Compute the exact chances of the task's distribution."""

    @cached_property
    def _chances(self) -> Chances:
        return self.chances()

    def baseline(self) -> float:
        """Return the mean entropy of the symbols' membership at each scored step."""
        members, scored = self._chances
        entropies = np.zeros_like(members)
        for chance in (members, 1 - members):
            safe = np.maximum(chance, LEAST_CHANCE)
            entropies -= chance * np.log(safe)
        return float((entropies.mean(axis=1) * scored).sum() / scored.sum())

    def baseline_outputs(self, batch: Batch) -> Array:
        """Return the logits of these chances."""
        chance = np.clip(self._chances.members, LEAST_CHANCE, 1 - LEAST_CHANCE)
        logits = np.log(chance) - np.log1p(-chance)
        return np.broadcast_to(logits[:, None], batch.targets.shape)

    def score(self, batch: Batch, outputs: Array) -> Score:
        """Count sequences without a wrong set; ``every_step`` counts sets."""
        right = ((outputs > 0) == (batch.targets > 0.5)).all(axis=-1)  # noqa: PLR2004
        whole = float(np.count_nonzero((right | ~batch.mask).all(axis=0)))
        every = float(np.count_nonzero(right & batch.mask)), float(np.count_nonzero(batch.mask))
        return Score(whole, float(batch.size), {"every_step": every})
