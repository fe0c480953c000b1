"""The states of a network at every step of its validation data, as the rows of one matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Batch, State
from harness.contract.probes import TrainedNetwork

MOST_FEATURES = 1024  # a larger state is projected on as many random directions
MOST_ROWS = 20_000  # steps of all sequences


@dataclass(frozen=True, eq=False)
class Reading:
    """Sequences of n validation streams, cut to one length L.

    Attributes:
        states: (L, n, F) all states of all layers after each step.
        inputs: (L, n) token ids, or (L, n, D) vectors.
        latents: (L, n) of ``Task.latent``; None: the task states none.
        valid: (L, n) False after the last scored step of a sequence: padding, which nobody needs.
    """

    states: Array
    inputs: NDArray[np.generic]
    latents: NDArray[np.generic] | None
    valid: NDArray[np.bool_]


def read(network: TrainedNetwork) -> Reading:
    """Run the network over its validation batches.

    A batch with ``carry`` continues the sequences of the one before it. At most ``MOST_ROWS`` steps
    are read.
    """
    streams: list[list[Batch]] = []
    rows = 0
    for batch in network.batches:
        if rows >= MOST_ROWS:
            break
        if batch.carry and streams and streams[-1][0].size == batch.size:
            streams[-1].append(batch)
        else:
            streams.append([batch])
        rows += batch.tokens
    readings = [_stream(network, stream) for stream in streams]
    length = min(len(reading.valid) for reading in readings)
    latents = [each.latents for each in readings]
    stated = [each[:length] for each in latents if each is not None]
    return Reading(
        np.concatenate([each.states[:length] for each in readings], axis=1),
        np.concatenate([each.inputs[:length] for each in readings], axis=1),
        np.concatenate(stated, axis=1) if len(stated) == len(latents) else None,
        np.concatenate([each.valid[:length] for each in readings], axis=1),
    )


def _stream(network: TrainedNetwork, batches: list[Batch]) -> Reading:
    """Read the windows of one stream, one after the other."""
    inputs = np.concatenate([batch.inputs for batch in batches])
    mask = np.concatenate([batch.mask for batch in batches])
    valid = np.maximum.accumulate(mask[::-1], axis=0)[::-1]
    latents = [network.task.latent(batch) for batch in batches]
    stated = [latent for latent in latents if latent is not None]
    rows = [_features(state) for state in network.stepper.run(inputs)]
    is_stated = len(stated) == len(batches)
    return Reading(np.stack(rows), inputs, np.concatenate(stated) if is_stated else None, valid)


def flat(state: State) -> Array:
    """Return a state as one vector per sequence (B, F)."""
    parts = [np.moveaxis(part, 0, 1).reshape(part.shape[1], -1) for part in state]
    return np.concatenate(parts, axis=-1)


def _features(state: State) -> Array:
    """Return all states of all layers (B, F), projected if they are many."""
    features = flat(state)
    width = features.shape[-1]
    if width <= MOST_FEATURES:
        return features
    # Johnson & Lindenstrauss 1984: random directions keep linear relations approximately.
    directions = np.random.default_rng(0).normal(size=(width, MOST_FEATURES))
    projected: Array = features @ directions / np.sqrt(MOST_FEATURES)
    return projected
