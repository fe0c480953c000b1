"""Backpropagation through time of one batch: at once, or in chunks that are run again.

In chunks (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"), forwards only the
states between chunks are kept; backwards each chunk is run again with its input product, readout
and loss, so that no array of size T*H ever exists. The derivative of a chunk's final state is that
of the next chunk's initial state.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from harness_torch.batch import DeviceBatch
from harness_torch.dropout import Draws
from harness_torch.network import Stack, Weights
from harness_torch.recurrence.layer import States


@dataclass(frozen=True, eq=False)
class Network:
    """Stacked cells, the readout, and the loss."""

    stack: Stack
    weights: Weights
    dropout: float = 0.0

    def readout(self, hidden: Tensor) -> Tensor:
        """Return outputs (T, B, K) in the weights' dtype; the product is in that of ``hidden``."""
        name = "weight_out" if "weight_out" in self.weights else "embedding"
        weight, bias = self.weights[name], self.weights["bias_out"]
        product = functional.linear(hidden, weight.to(hidden.dtype), bias.to(hidden.dtype))
        return product.to(weight.dtype)

    def loss(
        self, batch: DeviceBatch, start: States, probes: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """Return the batch's share in the mean loss and the final state."""
        hidden, final = self.stack(batch.inputs, start, self.dropout, probes)
        return batch.loss(self.readout(hidden)), final

    def unfinished(self) -> AbstractContextManager[Any]:
        """Return the context of a backward pass that is not the last of its batch."""
        return nullcontext()


def differentiate(
    network: Network,
    batch: DeviceBatch,
    start: States,
    chunk: int | None = None,
    probes: Tensor | None = None,
) -> tuple[Tensor, States]:
    """Add the gradients of ``batch`` to every leaf's ``grad``; return loss and final state.

    Args:
        network: what is differentiated.
        batch: one batch.
        start: the initial state, each (layers, B, H); the gradient is cut there.
        chunk: time steps per chunk; None keeps everything.
        probes: (layers, T, B, H) zeros whose gradient is d loss / d h_t, or None.
    """
    if chunk is not None and chunk < batch.time_steps:
        return _in_chunks(network, batch.split(chunk), start, probes)
    loss, final = network.loss(batch, start, probes)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach(), detached(final)


def detached(state: States) -> States:
    """Return the same values without their history."""
    return tuple(part.detach() for part in state)


def _in_chunks(
    network: Network, chunks: Sequence[DeviceBatch], start: States, probes: Tensor | None
) -> tuple[Tensor, States]:
    begins, draws = _begins(network, chunks, start)
    parts = (
        [None] * len(chunks) if probes is None else torch.split(probes, chunks[0].time_steps, dim=1)
    )
    begin = _leaves(begins, -1)
    with network.unfinished():
        loss, final = _again(network, chunks[-1], begin, parts[-1], ())
    after = _draws(network, start)
    for index in reversed(range(len(chunks) - 1)):
        d_end, begin = tuple(part.grad for part in begin), _leaves(begins, index)
        _restore(draws[index])
        with network.unfinished() if index else nullcontext():
            share, _ = _again(network, chunks[index], begin, parts[index], d_end)
        loss = loss + share
    _restore(after)
    return loss, final


def _begins(
    network: Network, chunks: Sequence[DeviceBatch], start: States
) -> tuple[States, list[Draws | None]]:
    """Run all chunks but the last without a graph; return where each begins, with dropout's state.

    The states, each (chunks, layers, B, H), lie in one tensor: a small one kept per chunk would lie
    between the large ones that the chunk frees, and the C library could not give their room to the
    next chunk.
    """
    begins = tuple(part.new_empty((len(chunks), *part.shape)) for part in start)
    draws, state = [], start
    for index, chunk in enumerate(chunks):
        for kept, part in zip(begins, state, strict=True):
            kept[index] = part
        draws.append(_draws(network, start))
        if index < len(chunks) - 1:
            with torch.no_grad():
                state = network.stack(chunk.inputs, state, network.dropout)[1]
    return begins, draws


def _leaves(begins: States, index: int) -> States:
    return tuple(part[index].detach().requires_grad_() for part in begins)


def _draws(network: Network, start: States) -> Draws | None:
    """Return the random state, or None if nothing is drawn."""
    return Draws(start[0].device) if network.dropout else None


def _restore(draws: Draws | None) -> None:
    if draws is not None:
        draws.restore()


def _again(
    network: Network,
    chunk: DeviceBatch,
    begin: States,
    probe: Tensor | None,
    d_end: tuple[Tensor | None, ...],
) -> tuple[Tensor, States]:
    """Run a chunk with a graph and back from its loss and final state; return both, detached."""
    loss, end = network.loss(chunk, begin, probe)
    reached = [
        (part, d_part) for part, d_part in zip(end, d_end, strict=False) if d_part is not None
    ]
    torch.autograd.backward(
        [loss, *(part for part, _ in reached)], [None, *(d_part for _, d_part in reached)]
    )
    return loss.detach(), detached(end)
