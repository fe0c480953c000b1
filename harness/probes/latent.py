"""``latent``: whether the state holds what a solution of the task must remember."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array
from harness.contract.probes import Findings, Probe, TrainedNetwork
from harness.probes.decoding import FEWEST_ROWS, Decoder
from harness.probes.reading import read

NO_CLASS = -1  # of ``Task.latent``
EARLY_FRACTION = 0.5  # of the steps, where a short memory is enough


class LatentMemory(Probe):
    """A linear decoder from the state to the latent of the task, such as the depth of brackets.

    It is judged on held-out sequences, in the second half of the steps: in the first, a memory of
    few symbols may be enough. Chance is the same decoder on the current input alone.
    """

    name = "latent"
    figures: ClassVar[Mapping[str, str]] = {
        "accuracy": "share of the steps at which the class is decoded",
        "chance_accuracy": "the same, decoded from the current input",
        "r2": "R^2 of a real value",
        "chance_r2": "the same, decoded from the current input",
    }

    def measure(self, network: TrainedNetwork) -> Findings:
        """Return how well the latent is decoded; nothing if the task states none."""
        reading, nothing = read(network), Findings(dict.fromkeys(self.figures))
        if reading.latents is None:
            return nothing
        early = int(EARLY_FRACTION * len(reading.valid))
        latents = reading.latents[early:].T  # (n, steps): the steps of a sequence are neighbours
        is_class = np.issubdtype(latents.dtype, np.integer)
        is_stated = np.isfinite(latents) if not is_class else latents != NO_CLASS
        rows = reading.valid[early:].T & is_stated
        if np.count_nonzero(rows) < FEWEST_ROWS:
            return nothing
        inputs = reading.inputs[early:].swapaxes(0, 1)[rows]
        if network.model.inputs.kind == "token":
            inputs = np.eye(network.model.inputs.size)[inputs.astype(np.int64)]
        state = reading.states[early:].swapaxes(0, 1)[rows]
        score = _accuracy if is_class else _r2
        names = ("accuracy", "chance_accuracy") if is_class else ("r2", "chance_r2")
        values = [score(features, latents[rows]) for features in (state, inputs)]
        return Findings(dict.fromkeys(self.figures) | dict(zip(names, values, strict=True)))


def _accuracy(features: Array, classes: NDArray[np.integer]) -> float:
    return Decoder(features).accuracy(classes, int(classes.max()) + 1)


def _r2(features: Array, values: Array) -> float | None:
    share = float(Decoder(features).r2(values[:, None])[0])
    return None if np.isnan(share) else share
