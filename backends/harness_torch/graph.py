"""The gradients of one batch shape as one CUDA graph: thousands of small launches become one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from harness_torch.batch import DeviceBatch
from harness_torch.bptt import Network, differentiate
from harness_torch.recurrence.layer import States

Capture = Callable[[Callable[[], None]], Callable[[], None]]
WARM_UPS = 3  # runs before capturing: libraries choose their algorithms and make their workspaces


def cuda_capture(work: Callable[[], None]) -> Callable[[], None]:
    """Warm up ``work`` on another stream, capture it, and return its replay.

    Raises:
        RuntimeError: something in ``work`` cannot be captured.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


class GraphedGradients:
    """``differentiate`` for batches of one shape, on tensors with fixed addresses.

    Parameters are only read: the update is taken outside, so that warming up and capturing train
    nothing.
    """

    def __init__(
        self, network: Network, batch: DeviceBatch, start: States, capture: Capture = cuda_capture
    ) -> None:
        self._network, self._leaves = network, list(network.weights.values())
        weights = None if batch.weights is None else batch.weights.clone()
        self._batch = replace(
            batch,
            inputs=batch.inputs.clone(),
            targets=batch.targets.clone(),
            weights=weights,
            counted=batch.counted.clone(),
        )
        self._start = tuple(part.clone() for part in start)
        self._replay = capture(self._work)

    def fits(self, batch: DeviceBatch) -> bool:
        """Say whether ``batch`` has this shape."""
        return batch.inputs.shape == self._batch.inputs.shape

    def run(self, batch: DeviceBatch, start: States) -> tuple[torch.Tensor, States]:
        """Leave the gradients in every leaf's ``grad``; return the loss and the final state."""
        self._batch.inputs.copy_(batch.inputs)
        self._batch.targets.copy_(batch.targets)
        self._batch.counted.copy_(batch.counted)
        if self._batch.weights is not None and batch.weights is not None:
            self._batch.weights.copy_(batch.weights)
        for kept, part in zip(self._start, start, strict=True):
            kept.copy_(part)
        self._replay()
        for leaf, gradient in zip(self._leaves, self._gradients, strict=True):
            leaf.grad = gradient
        return self._loss.clone(), tuple(part.clone() for part in self._final)

    def _work(self) -> None:
        for leaf in self._leaves:
            leaf.grad = None
        self._loss, self._final = differentiate(self._network, self._batch, self._start)
        self._gradients = [leaf.grad for leaf in self._leaves]
