"""Variant ``loop``: a cell's ``step`` under autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.contract import Cell
from harness_torch.ops import OPS

States = tuple[Tensor, ...]


def loop(
    cell: Cell, zx: Tensor, weight_hh: Tensor, bias_hh: Tensor, state: States, probe: Tensor | None
) -> tuple[Tensor, States]:
    """Run one layer over all time steps.

    Args:
        cell: the equations.
        zx: (T, B, G*H) input products.
        weight_hh: (G*H, H).
        bias_hh: (G*H,).
        state: the initial state, each (B, H).
        probe: (T, B, H) zeros added to each h_t, so that their gradient is d loss / d h_t; or None.

    Returns:
        h (T, B, H) and the final state, each (B, H).
    """
    recurrent = weight_hh.t()
    probes = [None] * len(zx) if probe is None else probe.unbind(0)
    hidden = []
    for zx_t, probe_t in zip(zx.unbind(0), probes, strict=True):
        state = cell.step(OPS, zx_t, torch.addmm(bias_hh, state[0], recurrent), state)
        if probe_t is not None:
            state = (state[0] + probe_t, *state[1:])
        hidden.append(state[0])
    return torch.stack(hidden), state
