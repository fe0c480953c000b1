"""What theory says of gradient flow at the start, from the settings of a trial alone. Nothing is measured here."""

from __future__ import annotations

import math

from harness.contract.trial import Trial

PLAIN = ("rnn", "rnn_relu")  # the recurrent weights are the whole way back
GATED = ("lstm", "gru", "minlstm", "mingru")  # a gate's value is the factor of the straight way back
UNIFORM = 1 / math.sqrt(3)  # spectral radius of H x H weights from U(-1/sqrt H, 1/sqrt H) as H grows: the circular law


def decay_at_start(trial: Trial) -> float | None:
    """Return the factor per step back that the initial weights lead one to expect; None where no simple law is known.

    Plain cells: the spectral radius of the recurrent weights. It is reached where no unit saturates, and each that does
    makes the gradient smaller. Gated cells: the memory gate at its mean bias, the straight way back through the state.
    Cells of other plugins and chrono initialisation have no such factor.
    """
    if trial.cell in PLAIN:
        return UNIFORM if trial.initialisation == "torch" else 1.0
    if trial.cell in GATED and trial.chrono is None:
        return 1 / (1 + math.exp(-(trial.forget_bias or 0.0)))
    return None
