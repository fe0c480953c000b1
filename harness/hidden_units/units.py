"""The states of a trained text network over a text, and which classes of characters they predict.

The network reads the text from a zero state, by the equations of its cell in float64. The value of
a unit at a character is its state after the network has read that character.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.cells.operations import LayerOps
from harness.contract import (
    Array,
    Cell,
    DivergedError,
    Model,
    Parameters,
    Trial,
    UnknownNameError,
    UsageError,
    Vocabulary,
)
from harness.contract.errors import with_fix
from harness.hidden_units.auc import areas, character_scores
from harness.hidden_units.classes import CLASSES, Mask, class_masks
from harness.hidden_units.view import LEVELS, ClassScore, UnitScore, View
from harness.measure.checkpoint import load
from harness.measure.setup import prepared_task, text_model, validation_batches
from harness.plugins import Plugins
from harness.recurrence import step_of

CHARACTERS = 20_000  # of a text, unless more or fewer are asked for
MOST_VALUES = 2**26  # of all units over a text, as float64: half a gigabyte
EXCERPT = 600  # characters of the coloured text
_FEW, _MORE = 3, 10  # units to show of each class, of one class
_LINE = re.compile(r"^.*\S", re.MULTILINE)  # that is not blank
_TAIL = 1.0  # percent of the values that are below the range, and above it


@dataclass(frozen=True, eq=False)
class UnitStudy:
    """All units of a network over a text.

    Attributes:
        trial: the trial that trained the network.
        text: the n characters that the network read.
        source: what the text is.
        skipped: characters that were left out, because the network does not know them.
        names: the U units, such as ``h0.5``: state h, layer 0, unit 5.
        values: (n, U) float64, the units after each character.
    """

    trial: Trial
    text: str
    source: str
    skipped: int
    names: tuple[str, ...]
    values: Array

    @property
    def half(self) -> int:
        """The characters of the first half, on which units are chosen."""
        return len(self.text) // 2

    @cached_property
    def masks(self) -> dict[str, Mask]:
        """Class -> mask (n,)."""
        return class_masks(self.text)

    @cached_property
    def classes(self) -> tuple[ClassScore, ...]:
        """The scores of all units for each class."""
        half, masks = self.half, [self.masks[name] for name in CLASSES]
        early = [areas(unit[:half], [mask[:half] for mask in masks]) for unit in self.values.T]
        late = [areas(unit[half:], [mask[half:] for mask in masks]) for unit in self.values.T]
        columns = zip(CLASSES, np.array(early).T, np.array(late).T, strict=True)
        return tuple(self._class_score(*column) for column in columns)

    def scores_of(self, unit: str) -> tuple[ClassScore, ...]:
        """Return the scores of one unit alone for each class."""
        self.number(unit)
        return tuple(
            replace(score, units=tuple(each for each in score.units if each.unit == unit))
            for score in self.classes
        )

    def number(self, unit: str) -> int:
        """Return the column of a unit in ``values``.

        Raises:
            UsageError: there is no such unit.
        """
        if unit not in self.names:
            layers = ", ".join(dict.fromkeys(name.partition(".")[0] for name in self.names))
            fix = f"write a layer ({layers}) and a number below {self.trial.hidden}, "
            raise UsageError(with_fix(f"unknown unit {unit!r}", f"{fix}such as {self.names[-1]}"))
        return self.names.index(unit)

    def levels(self, unit: str) -> tuple[NDArray[np.integer], float, float]:
        """Return a unit's values as levels (n,) from 0 to ``LEVELS`` - 1, and the range.

        The levels divide the range equally. One percent of the values is at or below the lowest
        bound, and one percent at or above the highest.
        """
        values = self.values[:, self.number(unit)]
        low, high = (float(bound) for bound in np.percentile(values, [_TAIL, 100 - _TAIL]))
        shares = (values - low) / ((high - low) or 1.0)
        return np.clip((shares * LEVELS).astype(int), 0, LEVELS - 1), low, high

    def excerpt(self, class_name: str | None, length: int) -> slice:
        """Return where to look: the lines of the second half with most changes of a class.

        The choice depends on the text alone. None: the start of the second half.
        """
        lines = (line.start() for line in _LINE.finditer(self.text, self.half))
        starts = [start for start in lines if start + length <= len(self.text)]
        if not starts or class_name is None:
            start = starts[0] if starts else max(self.half, len(self.text) - length)
            return slice(start, min(start + length, len(self.text)))
        changes = np.cumsum(np.diff(self.masks[class_name], prepend=False))
        start = max(starts, key=lambda start: changes[start + length - 1] - changes[start])
        return slice(start, start + length)

    def view(
        self, class_name: str | None = None, unit: str | None = None, length: int = EXCERPT
    ) -> View:
        """Return what to show: the best units, and a part of the text coloured by one.

        Args:
            class_name: only this class; None: every class, and the one with the largest gain for
                the coloured text.
            unit: only this unit; None: the best of each class.
            length: characters of the coloured text.

        Raises:
            UsageError: there is no such class or unit.
        """
        if class_name is not None and class_name not in CLASSES:
            raise UnknownNameError("class of characters", class_name, CLASSES)
        classes = self.classes if unit is None else self.scores_of(unit)
        scores = [score for score in classes if class_name in {None, score.name}]
        with_units = [score for score in scores if score.units]
        if with_units:
            best = max(with_units, key=lambda score: score.units[0].gain)
            class_name, unit = best.name, best.units[0].unit
        most = _FEW if len(scores) > 1 else _MORE
        part = self.excerpt(class_name, length)
        number = self.number(unit or self.names[0])
        levels, low, high = self.levels(self.names[number])
        size = f"{len(self.names):,} units over {len(self.text):,} characters of {self.source}."
        if self.skipped:
            size += f" {self.skipped:,} characters that the network does not know were left out."
        return View(
            self.trial,
            size,
            tuple(score.first(most) for score in scores),
            unit,
            class_name,
            part.start,
            self.text[part],
            self.values[part, number],
            levels[part].tolist(),
            low,
            high,
        )

    def __repr__(self) -> str:
        return f"<{self.view().title}: {self.view().size}>"

    def _repr_html_(self) -> str:
        return self.view()._repr_html_()

    def _class_score(self, name: str, early: Array, late: Array) -> ClassScore:
        half, mask = self.half, self.masks[name]
        scored = mask[half:]
        positives = int(np.count_nonzero(scored))
        counts = (
            name,
            positives,
            len(scored) - positives,
            int(np.count_nonzero(np.diff(scored, prepend=False) & scored)),
        )
        if np.isnan([*early, *late]).any():
            return ClassScore(*counts, None, (), missing=_missing(mask, half))
        _, characters = np.unique(list(self.text), return_inverse=True)
        guesses = character_scores(characters, mask, half)[half:]
        (alone,) = areas(guesses, [scored])
        distances = np.abs(early - 0.5)
        order = np.argsort(-distances, kind="stable")
        late = np.where(early >= 0.5, late, 1 - late)  # noqa: PLR2004
        units = tuple(
            UnitScore(self.names[i], float(late[i]), float(late[i]) - alone, bool(early[i] >= 0.5))  # noqa: PLR2004
            for i in order
        )
        return ClassScore(*counts, alone, units)


def study_units(
    plugins: Plugins, checkpoint: Path, *, text: str | None = None, characters: int = CHARACTERS
) -> UnitStudy:
    """Let a trained network read a text, and keep the states of all units.

    Args:
        plugins: all plugins.
        checkpoint: a ``.safetensors`` file that a run left.
        text: what it reads; None: the validation text of its trial.
        characters: the most to read, from the start.

    Raises:
        UsageError: the file is not a checkpoint of a text model, or the text cannot be used.
        DivergedError: a state is not finite.
    """
    stored = load(checkpoint)
    trial, vocabulary = stored.trial, stored.vocabulary
    if vocabulary is None:
        raise UsageError(
            with_fix(
                f"{checkpoint} was trained on task {trial.task!r}, which is not text: its units "
                "have no characters to respond to",
                "name a trial of a text task, such as char",
            )
        )
    if vocabulary.has_words:
        raise UsageError(
            with_fix(
                f"{checkpoint} reads words, and units are compared with classes of characters",
                "name a trial of a text of characters, such as char",
            )
        )
    names = tuple(
        f"{state}{layer}.{unit}"
        for state in _vector_states(plugins.cell(trial.cell))
        for layer in range(trial.layers)
        for unit in range(trial.hidden)
    )
    most = min(characters, MOST_VALUES // len(names))
    source = "the text given"
    if text is None:
        text, source = _validation_text(plugins, trial, most), "its validation text"
    text = text[:most]
    readable = _readable(text, vocabulary)
    model = text_model(plugins, checkpoint, stored, vocabulary)
    values = _values(model, stored.parameters, vocabulary, readable)
    return UnitStudy(trial, readable, source, len(text) - len(readable), names, values)


def _vector_states(cell: Cell) -> tuple[str, ...]:
    """Return the states that have a value per unit; a matrix has one per pair of units."""
    return tuple(name for name in cell.states if name not in cell.matrix_states)


def _validation_text(plugins: Plugins, trial: Trial, characters: int) -> str:
    """Return the start of the text on which the trial was validated."""
    task = prepared_task(trial, plugins)
    if task.vocabulary is None:
        raise UsageError(f"task {trial.task!r} no longer has a text: give one with --text FILE")
    tokens: list[NDArray[np.int32]] = []
    length = 0
    for batch in validation_batches(task, trial, plugins.label("task", trial.task), 1):
        tokens.append(batch.inputs[batch.mask].astype(np.int32))
        length += len(tokens[-1])
        if length >= characters:
            break
    return task.vocabulary.decode(np.concatenate(tokens))[:characters]


def _readable(text: str, vocabulary: Vocabulary) -> str:
    """Return the characters that the network knows.

    Raises:
        UsageError: fewer than two are left.
    """
    symbols = vocabulary.symbols
    readable = text if symbols is None else "".join(c for c in text if c in symbols)
    if len(readable) < 2:  # noqa: PLR2004
        raise UsageError(
            f"the text has {len(text)} characters, and the network knows {len(readable)} of them: "
            f"give a longer text of its characters {symbols or 'as UTF-8'!r}"
        )
    return readable


def _values(model: Model, parameters: Parameters, vocabulary: Vocabulary, text: str) -> Array:
    """Return the states (n, units) after each of the n characters, read from zeros.

    A character of several bytes is read byte by byte.
    """
    pieces = list(map(vocabulary.encode, text))
    tokens = np.concatenate(pieces)
    count = len(_vector_states(model.cell))
    states = np.empty((count, model.layers, len(tokens), model.hidden))
    with np.errstate(all="ignore"):
        for layer in range(model.layers):
            weights = _weights(parameters, layer)
            columns = weights["weight_ih"].T
            products: Iterable[Array] = (columns[token] for token in tokens)
            if layer:
                products = map(weights["weight_ih"].dot, states[0, layer - 1])
            elif model.embedding is not None:
                products = map(weights["weight_ih"].dot, parameters["embedding"][tokens])
            _run_layer(model.cell, products, weights, states[:, layer])
    if not np.isfinite(states).all():
        raise DivergedError("a state of the network is not finite: its units cannot be compared")
    ends = np.cumsum(list(map(len, pieces))) - 1
    values: Array = states[:, :, ends].transpose(2, 0, 1, 3).reshape(len(text), -1)
    return values


def _weights(parameters: Parameters, layer: int) -> dict[str, Array]:
    """Return the parameters of one layer in float64, by their names without it."""
    end = f"_l{layer}"
    return {
        name.removesuffix(end): values.astype(np.float64)
        for name, values in parameters.items()
        if name.endswith(end)
    }


def _run_layer(
    cell: Cell, products: Iterable[Array], weights: Mapping[str, Array], states: Array
) -> None:
    """Write the states (S, n, H) of one layer, from its n input products (G*H,), without biases.

    A matrix is not among them.
    """
    step, ops = step_of(cell), LayerOps(weights)
    own = tuple(weights[name] for name in cell.vectors)
    state = tuple(np.zeros(shape) for shape in cell.state_shapes(states.shape[-1]))
    kept = [cell.states.index(name) for name in _vector_states(cell)]
    for at, product in enumerate(products):
        state = step(ops, product + weights["bias_ih"], state, own)
        for values, index in zip(states, kept, strict=True):
            values[at] = state[index]


def _missing(mask: Mask, half: int) -> str:
    """Return why a class has no figures."""
    for name, part in (("first", mask[:half]), ("second", mask[half:])):
        if not part.any():
            return f"no such character in the {name} half"
        if part.all():
            return f"only such characters in the {name} half"
    return ""
