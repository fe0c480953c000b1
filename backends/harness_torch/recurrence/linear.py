"""Kernels of cells that are linear in their state: h' = a * h + b.

``SerialKernel`` takes one time step after the other (in ``fused``), ``ScanKernel`` all time steps
at once (variant ``parallel``). The reverse of either is a linear recurrence too, in the other
direction of time::

    d_h_t = direct_t + a_(t+1) * d_h_(t+1)        d_a_t = d_h_t * h_(t-1)        d_b_t = d_h_t
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from harness.contract import Cell
from harness.recurrence import derive
from harness_torch.recurrence.buffers import Buffers
from harness_torch.recurrence.kernel import Derivatives, KernelLayer
from harness_torch.recurrence.layer import LayerWeights, States
from harness_torch.recurrence.ops import OPS


def parallel_layer(cell: Cell) -> KernelLayer:
    """Return a layer of variant ``parallel``.

    Raises:
        TypeError: the cell is not linear in its state.
    """
    return KernelLayer(ScanKernel(cell))


class LinearKernel(ABC):
    """Coefficients of all time steps at once, the recurrence, and its reverse."""

    def __init__(self, cell: Cell) -> None:
        self._recurrence, self.buffers = derive(cell), Buffers()

    def fold(self, weights: LayerWeights) -> LayerWeights:
        """Return the weights as they are."""
        return weights

    def forward(self, others: Mapping[str, Tensor], state: States) -> tuple[Tensor, States]:
        """Run the recurrence over all time steps."""
        self._own = tuple(others[name] for name in self._recurrence.cell.vectors)
        self._decay, added = self._recurrence.coefficients(OPS, self.buffers["zx"], self._own)
        self._start, self._hidden = state[0], self.recur(self._decay, added, state[0])
        return self._hidden.detach(), (self._hidden[-1].clone(),)

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Run it backwards in time."""
        direct = d_hidden.clone()
        direct[-1] += d_final[0]
        later = torch.cat((self._decay[1:], torch.zeros_like(self._decay[:1]))).flip(0)
        total = self.recur(later, direct.flip(0), torch.zeros_like(self._start)).flip(0)
        before = torch.cat((self._start.unsqueeze(0), self._hidden[:-1]))
        gradient = self._recurrence.gradient(
            OPS, self.buffers["zx"], (), (before,), self._own, (total,), lambda *_: None
        )
        d_vectors = zip(self._recurrence.cell.vectors, gradient.vectors, strict=True)
        others = {name: (0.0 * total + d_vector).sum((0, 1)) for name, d_vector in d_vectors}
        return Derivatives(gradient.zx, others, total, (total[0] * self._decay[0],))

    @abstractmethod
    def recur(self, decay: Tensor, added: Tensor, start: Tensor) -> Tensor:
        """Return h_t = decay_t * h_(t-1) + added_t, (T, B, H); may overwrite ``added``."""


class SerialKernel(LinearKernel):
    """One multiplication and addition per time step, in place in ``added``."""

    def recur(self, decay: Tensor, added: Tensor, start: Tensor) -> Tensor:
        """Return h of all time steps."""
        h = start
        for decay_t, added_t in zip(decay.unbind(0), added.unbind(0), strict=True):
            h = added_t.addcmul_(decay_t, h)
        return added


class ScanKernel(LinearKernel):
    """The associative scan: pairs of time steps are composed; then the same for half the length.

    Work grows as T, the longest chain of operations as 2 log2 T (Blelloch 1990). There is no
    division, and no product of decays is ever inverted, so it is as stable as the serial
    recurrence.
    """

    def recur(self, decay: Tensor, added: Tensor, start: Tensor) -> Tensor:
        """Return h of all time steps."""
        added[0].addcmul_(decay[0], start)
        return _scan(decay, added)


def _scan(decay: Tensor, added: Tensor) -> Tensor:
    """Return h_t = decay_t * h_(t-1) + added_t, h_(-1) = 0, by halving T."""
    if len(added) == 1:
        return added
    even, odd = slice(0, len(added) - 1, 2), slice(1, None, 2)
    added_in_pairs = torch.addcmul(added[odd], decay[odd], added[even])
    pairs = _scan(decay[odd] * decay[even], added_in_pairs)  # h at odd t
    hidden = torch.empty_like(added)
    hidden[0], hidden[odd] = added[0], pairs
    rest = hidden[2::2]
    torch.addcmul(added[2::2], decay[2::2], pairs[: len(rest)], out=rest)
    return hidden
