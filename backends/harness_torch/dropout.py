"""The random states from which dropout masks are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Draws:
    """The process's random state at one moment; after ``restore`` the same masks follow again."""

    def __init__(self, device: torch.device) -> None:
        self._device = device if device.type == "cuda" else None
        self._cpu = torch.get_rng_state()
        self._gpu = None if self._device is None else torch.cuda.get_rng_state(self._device)

    def restore(self) -> None:
        """Go back to that moment."""
        torch.set_rng_state(self._cpu)
        if self._gpu is not None and self._device is not None:
            torch.cuda.set_rng_state(self._gpu, self._device)


class Randomness:
    """A trainer's own random state: torch draws all dropout masks from one state per process."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        with self._forked():
            torch.manual_seed(seed)
            self._next = Draws(device)

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Draw from this state inside the block; the process's own state does not change."""
        with self._forked():
            self._next.restore()
            yield
            self._next = Draws(self._device)

    @contextmanager
    def _forked(self) -> Iterator[None]:
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            yield
