"""A batch: a task generates it, a trainer consumes it. Time-major, NumPy only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences with their targets and the positions that count.

    Attributes:
        inputs: (T, B) int32 token ids, or (T, B, D) float64 vectors.
        targets: (T, B) int32 classes for cross-entropy, or (T, B, K) float64 values for squared
            error, or values from 0 to 1 for binary cross-entropy (k-hot sets). Entries where
            the mask is False are ignored, but are valid (class 0, value 0).
        mask: (T, B) bool, True at the positions whose loss counts; at least one is True.
        carry: True: start from the final state of the trainer's last batch (the next window of a
            stream). False: start from zeros. The gradient never crosses the boundary (truncated
            BPTT).
    """

    inputs: NDArray[np.int32] | NDArray[np.float64]
    targets: NDArray[np.int32] | NDArray[np.float64]
    mask: NDArray[np.bool_]
    carry: bool = False

    @property
    def time_steps(self) -> int:
        """T, the number of time steps."""
        return int(self.mask.shape[0])

    @property
    def size(self) -> int:
        """B, the number of sequences."""
        return int(self.mask.shape[1])

    @property
    def tokens(self) -> int:
        """T times B, the time steps of all sequences."""
        return self.time_steps * self.size

    def first(self, sequences: int) -> Batch:
        """Return the first ``sequences`` sequences as a batch that starts from zeros."""
        cut = slice(0, sequences)
        return Batch(self.inputs[:, cut], self.targets[:, cut], self.mask[:, cut])

    def last_scored(self) -> Batch:
        """Return the batch with a mask that is True only at each sequence's last scored position.

        It is used to measure gradient flow.
        """
        last = np.zeros_like(self.mask)
        steps = self.time_steps - 1 - np.argmax(self.mask[::-1], axis=0)
        columns = np.flatnonzero(self.mask.any(axis=0))
        last[steps[columns], columns] = True
        return replace(self, mask=last)
