"""The random states from which dropout masks are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from harness.contract import Snapshot


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

    def states(self) -> tuple[Tensor, ...]:
        """Return the state of each generator, on the CPU."""
        return (self._cpu,) if self._gpu is None else (self._cpu, self._gpu)

    @classmethod
    def of_states(cls, states: Sequence[Tensor], device: torch.device) -> Draws:
        """Return the moment at which the generators had these states."""
        draws = cls(device)
        draws._cpu, *others = states
        draws._gpu = others[0] if others else None
        return draws


class Randomness:
    """A trainer's own random state: torch draws all dropout masks from one state per process."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        with self._forked():
            torch.manual_seed(seed)
            self._next = Draws(device)

    def snapshot(self) -> Snapshot:
        """Return the state of each generator, as bytes."""
        states = self._next.states()
        return {f"dropout_{index}": state.numpy().copy() for index, state in enumerate(states)}

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from these states."""
        states = [torch.from_numpy(snapshot[name].copy()) for name in self.snapshot()]
        self._next = Draws.of_states(states, self._device)

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
