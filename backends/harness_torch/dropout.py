"""Where dropout masks come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Randomness:
    """A trainer's own random state: torch draws dropout masks, its library's included, from one state per process."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(self._devices):
            torch.manual_seed(seed)
            self._keep()

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw from this state inside the block, and leave the process's state as it was."""
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(self._cpu)
            for device, state in zip(self._devices, self._gpu, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
            self._keep()

    def _keep(self) -> None:
        self._cpu = torch.get_rng_state()
        self._gpu = [torch.cuda.get_rng_state(device) for device in self._devices]
