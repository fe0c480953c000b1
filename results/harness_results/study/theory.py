"""What theory says of gradient flow at the start, from the settings of a trial alone."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from harness.cells.operations import OPS
from harness.contract import Cell
from harness.contract.trial import Trial
from harness.contract.weights.initialisation import Draw, draws_of
from harness.plugins import load_plugins

PLAIN = ("rnn", "rnn_relu")  # gradients flow back through the recurrent weights alone


def decay_at_start(trial: Trial) -> float | None:
    """Return the factor per step back that theory expects; None if no simple law is known.

    Plain cells: the spectral radius of the recurrent weights, an upper bound because saturated
    units shrink the gradient. Other cells: the share of the state that ``Cell.retention`` says they
    keep with every gate at its mean bias. Chrono initialisation has no simple law: each unit keeps
    another share.
    """
    if trial.cell in PLAIN:
        return _spectral_radius(draws_of(trial.initialisation).get("recurrent"), trial.hidden)
    cell = known_cells().get(trial.cell)
    if cell is None or trial.chrono is not None:
        return None
    return _retention(cell, trial.forget_bias or 0.0)


def _spectral_radius(draw: Draw | None, hidden: int) -> float | None:
    """Return the radius of H x H weights as H grows: the circular law, deviation times sqrt(H)."""
    match draw:
        case None:  # U(-1/sqrt(H), 1/sqrt(H))
            return 1 / math.sqrt(3)
        case Draw("uniform", float(bound)):
            return bound * math.sqrt(hidden / 3)
        case Draw("normal", float(deviation)):
            return deviation * math.sqrt(hidden)
        case Draw("zeros"):
            return None
    return 1.0  # orthogonal, the identity, and Glorot's deviation of 1/sqrt(H)


@cache
def known_cells() -> dict[str, Cell]:
    """Return the cells that are installed, by name."""
    return dict(load_plugins().cells)


def _retention(cell: Cell, forget_bias: float) -> float | None:
    """Return what the cell keeps at mean biases: all gates 0, but for ``forget_bias``."""
    biases = dict.fromkeys(cell.gates, np.zeros(1))
    if cell.memory_gate is not None:
        biases[cell.memory_gate] = np.full(1, cell.memory_sign * forget_bias)
    try:
        kept = cell.retention(OPS, biases)
        return None if kept is None or not np.isfinite(kept).all() else float(np.mean(kept))
    except Exception:  # noqa: BLE001 (code of a plugin: its line is left out)
        return None
