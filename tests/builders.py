"""The trials that tests begin with, complete and small, and trained networks made by hand."""

from pathlib import Path
from typing import Any

import numpy as np

from harness.cells import ReluRNN
from harness.contract import Cell, Inputs, Model, Parameters, Trial, Vocabulary
from harness.measure.checkpoint import save


def trial_of(engine: str = "numpy:loop", **settings: Any) -> Trial:
    """Return a trial of ``BACKEND:VARIANT`` on the copy task; settings replace any field."""
    backend, variant = engine.split(":")
    defaults = {"backend": backend, "variant": variant, "task": "copy", "cell": "lstm"}
    return Trial(**(defaults | {"length": 20} | settings))


def small_trial(engine: str = "numpy:vectorised", **settings: Any) -> Trial:
    """Return a trial that a worker measures at once: few time steps, numbers and updates."""
    small = {"cell": "rnn", "length": 3, "hidden": 4, "batch": 2, "steps": 8}
    return trial_of(engine, **(small | settings))


# A text with every class of characters, and the network below that reads it.
CLASSES_TEXT = 'Call f(a, b) or "g" with [x].\n  Then {stop}; do not "go on".\n\n' * 12
SYMBOLS = "".join(sorted(set(CLASSES_TEXT)))


def zero_weights(cell: Cell, vocabulary: Vocabulary, hidden: int, layers: int = 1) -> Parameters:
    """Return the weights of a text network, float32, all zeros."""
    size = vocabulary.size
    shapes = Model(cell, Inputs("token", size), hidden, layers, size, "cross_entropy")
    return {
        name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.parameter_shapes().items()
    }


def saved_network(
    folder: Path, parameters: Parameters, vocabulary: Vocabulary, **settings: Any
) -> Path:
    """Write the checkpoint of a text network, and return its file."""
    path = folder / "trained.safetensors"
    save(path, parameters, trial_of(task="char", **({"length": 5} | settings)), vocabulary)
    return path


def bracket_counter(folder: Path) -> Path:
    """Write a network whose unit 1 counts open brackets. Unit 2 is 0 at an opening one, else 1."""
    vocabulary = Vocabulary(SYMBOLS)
    parameters = zero_weights(ReluRNN(), vocabulary, 3)
    parameters["weight_hh_l0"][1, 1] = 1.0
    parameters["bias_ih_l0"][2] = 1.0
    for opening, closing in ("()", "[]", "{}"):
        parameters["weight_ih_l0"][1:, SYMBOLS.index(opening)] = (1.0, -1.0)
        parameters["weight_ih_l0"][1, SYMBOLS.index(closing)] = -1.0
    return saved_network(folder, parameters, vocabulary, cell="rnn_relu", hidden=3)
