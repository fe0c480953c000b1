"""Variant ``loop``: a cell's ``step`` under autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.contract import Cell
from harness.recurrence.classic import classic
from harness_torch.recurrence.layer import ProductLayer, States
from harness_torch.recurrence.ops import OPS


def loop_layer(cell: Cell) -> ProductLayer:
    """Return a layer of this variant."""
    return ProductLayer(cell, loop)


def loop(
    cell: Cell,
    zx: Tensor,
    weight_hh: Tensor | None,
    bias_hh: Tensor | None,
    state: States,
    probe: Tensor | None,
) -> tuple[Tensor, States]:
    """Run one layer over all time steps.

    Args:
        cell: the equations.
        zx: (T, B, G*H) input products.
        weight_hh: (G*H, H); None for a cell that is not recurrent.
        bias_hh: (G*H,), or None with it.
        state: the initial state, each (B, H).
        probe: (T, B, H) zeros added to each h_t, so that their gradient is d loss / d h_t; or None.

    Returns:
        h (T, B, H) and the final state, each (B, H).
    """
    probes = [None] * len(zx) if probe is None else probe.unbind(0)
    hidden = []
    for zx_t, probe_t in zip(zx.unbind(0), probes, strict=True):
        state = classic(cell).step(
            OPS, zx_t, recurrent_product(state[0], weight_hh, bias_hh), state
        )
        if probe_t is not None:
            state = (state[0] + probe_t, *state[1:])
        hidden.append(state[0])
    return torch.stack(hidden), state


def recurrent_product(h: Tensor, weight_hh: Tensor | None, bias_hh: Tensor | None) -> Tensor | None:
    """Return zh (B, G*H) of h (B, H), or None for a cell that is not recurrent."""
    if weight_hh is None or bias_hh is None:
        return None
    return torch.addmm(bias_hh, h, weight_hh.t())
