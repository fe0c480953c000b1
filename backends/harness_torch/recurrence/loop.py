"""Variant ``loop``: a cell's ``step`` under autograd."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from harness.contract import Cell
from harness.recurrence import step_of
from harness_torch.recurrence.layer import ProductLayer, States
from harness_torch.recurrence.ops import LayerOps


def loop_layer(cell: Cell) -> ProductLayer:
    """Return a layer of this variant."""
    return ProductLayer(cell, loop)


def loop(
    cell: Cell, zx: Tensor, others: Mapping[str, Tensor], state: States, probe: Tensor | None
) -> tuple[Tensor, States]:
    """Run one layer over all time steps.

    Args:
        cell: the equations.
        zx: (T, B, G*H) input products.
        others: the weights of the cell's products, and its vectors; see ``LayerWeights``.
        state: the initial state, each (B, H).
        probe: (T, B, H) zeros added to each h_t, so that their gradient is d loss / d h_t; or None.

    Returns:
        h (T, B, H) and the final state, each (B, H).
    """
    step, ops, own = step_of(cell), LayerOps(others), tuple(others[name] for name in cell.vectors)
    probes = [None] * len(zx) if probe is None else probe.unbind(0)
    hidden = []
    for zx_t, probe_t in zip(zx.unbind(0), probes, strict=True):
        state = step(ops, zx_t, state, own)
        if probe_t is not None:
            state = (state[0] + probe_t, *state[1:])
        hidden.append(state[0])
    return torch.stack(hidden), state
