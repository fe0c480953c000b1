"""BPTT over one batch, whole or checkpointed: only the states between chunks are kept.

Chen, Xu, Zhang & Guestrin 2016, "Training Deep Nets with Sublinear Memory Cost". Backwards each
chunk is run again, its readout and loss included, so memory grows with the chunk and with the
number of chunks, not with T*H.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.contract import Array, State
from harness_numpy.recurrence.device import DeviceBatch
from harness_numpy.recurrence.network import Network, W

Chunk = int | None  # time steps; None: all of them


def backpropagate(
    network: Network[W],
    batch: DeviceBatch,
    chunk: Chunk,
    state: State | None,
    *,
    training: bool,
    states: Sequence[Array] = (),
) -> tuple[np.floating[Any], State]:
    """Fill the network's gradients.

    Args:
        network: the function.
        batch: all T steps.
        chunk: how many are kept at a time.
        state: to start from; None means zeros.
        training: dropout on.
        states: filled with the total derivatives d loss / d h_t, then those of the cell's further
            states, each (layers, T, B, H); only the given ones are computed.

    Returns:
        the mean loss and the final state.
    """
    chunks = batch.chunks(chunk)
    starts = []
    for part in chunks[:-1]:
        starts.append((state, network.masks.position()))
        state = network.forward(part, state, training=training).final()
    work = network.forward(chunks[-1], state, training=training)
    final, end = work.final(), network.masks.position()
    last = _until(states, batch.steps, chunks[-1].steps)
    loss, d_state = _backward(network, chunks[-1], work, None, last)
    if starts:
        total, stop = network.gradients.vector.copy(), batch.steps - chunks[-1].steps
        for part, (state, position) in zip(reversed(chunks[:-1]), reversed(starts), strict=True):
            network.masks.rewind(position)
            work = network.forward(part, state, training=training)
            now = _until(states, stop, part.steps)
            share, d_state = _backward(network, part, work, d_state, now)
            loss += share
            total += network.gradients.vector
            stop -= part.steps
        network.gradients.vector[...] = total
        network.masks.rewind(end)
    return loss, final


def outputs(
    network: Network[W], batch: DeviceBatch, chunk: Chunk, state: State | None
) -> tuple[Array, State]:
    """Return outputs (T, B, K), dropout off, and the final state."""
    pieces = []
    for part in batch.chunks(chunk):
        work = network.forward(part, state, training=False)
        pieces.append(network.outputs(work))
        state = final = work.final()
    return np.concatenate(pieces).reshape(batch.steps, batch.size, -1), final


def _backward(
    network: Network[W], part: DeviceBatch, work: W, d_final: State | None, states: Sequence[Array]
) -> tuple[np.floating[Any], State]:
    loss_and_state = network.backward(part, work, d_final, states[1:])
    if states:
        states[0][...] = work.d_hidden
    return loss_and_state


def _until(states: Sequence[Array], stop: int, steps: int) -> list[Array]:
    """Return the views of the last ``steps`` time steps before ``stop``."""
    return [state[:, stop - steps : stop] for state in states]
