"""One rank's trainer: the same weights on all; DistributedDataParallel averages gradients."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from harness.contract import Batch, Execution, Model, Optimizer, Parameters, StepResult
from harness_torch.batch import DeviceBatch, device_batch
from harness_torch.bptt import Network
from harness_torch.recurrence.layer import States
from harness_torch.trainer import TorchTrainer


class _Share(nn.Module):
    """The loss of one rank's share times the number of ranks: averaged gradients then add up."""

    def __init__(self, network: Network, ranks: int) -> None:
        super().__init__()
        self._network, self._ranks = network, ranks
        for name, weight in network.weights.items():
            self.register_parameter(name, cast("nn.Parameter", weight))

    def forward(
        self, batch: DeviceBatch, start: States, probes: Tensor | None
    ) -> tuple[Tensor, States]:
        loss, final = self._network.loss(batch, start, probes)
        return loss * self._ranks, final


@dataclass(frozen=True, eq=False)
class SharedNetwork(Network):
    """A network whose gradients are averaged over the ranks while they are computed."""

    shared: DistributedDataParallel | None = None

    def loss(
        self, batch: DeviceBatch, start: States, probes: Tensor | None = None
    ) -> tuple[Tensor, States]:
        """Return the share's loss times the number of ranks, and the final state."""
        if self.shared is None:
            return super().loss(batch, start, probes)
        result: tuple[Tensor, States] = self.shared(batch, start, probes)
        return result

    def unfinished(self) -> AbstractContextManager[Any]:
        """Keep gradients on this rank until the last chunk: they are summed over ranks once."""
        return super().unfinished() if self.shared is None else self.shared.no_sync()


class Replica(TorchTrainer):
    """The trainer of one rank.

    Attributes:
        seconds: spent in training steps so far, waiting for the other ranks included.
        sequences: of the last batch that was trained on.
    """

    def __init__(
        self, model: Model, optimizer: Optimizer, parameters: Parameters, execution: Execution
    ) -> None:
        self._rank, self._ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
        seed = execution.dropout_seed + self._rank
        super().__init__(
            model, optimizer, parameters, replace(execution, devices=1, dropout_seed=seed)
        )
        self._wants_graph = False  # the averaging cannot be captured with it
        network = replace(self._network, dropout=model.dropout)
        shared = DistributedDataParallel(_Share(network, self._ranks))
        self._shared = SharedNetwork(network.stack, network.weights, network.dropout, shared=shared)
        self.seconds, self.sequences = 0.0, 0
        self._results: list[StepResult] = []

    def put_share(self, batch: Batch, counted: int) -> DeviceBatch:
        """Copy this rank's share of a batch in which ``counted`` positions count."""
        return device_batch(batch, self._model, self._device, self._weight_dtype, counted)

    def queue_step(self, batch: DeviceBatch) -> None:
        """Do one update of all ranks together; its figures are kept for ``finish_steps``."""
        start = time.perf_counter()
        self.sequences = batch.size
        result = self.train_step(batch)
        self._results.append(
            StepResult(result.loss / self._ranks, result.gradient_norm, result.clipped)
        )
        self.seconds += time.perf_counter() - start

    def finish_steps(self) -> dict[str, list[float]]:
        """Wait, and return the figures of the steps since the last call; losses are the shares'."""
        start = time.perf_counter()
        self.synchronize()
        self.seconds += time.perf_counter() - start
        results, self._results = self._results, []
        return {
            "loss": [float(result.loss) for result in results],
            "norm": [float(result.gradient_norm) for result in results],
            "clipped": [float(result.clipped) for result in results],
        }

    def _trained(self) -> Network:
        return self._shared
