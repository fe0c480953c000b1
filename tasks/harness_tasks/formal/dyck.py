"""Brackets of several kinds, nested up to a depth (Hewitt et al. 2020)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.contract import Batch, Inputs, TaskDefaults, TaskOptions
from harness_tasks.formal.sets import Chances, NextSymbolTask
from harness_tasks.sequences import SequenceOptions


class DyckOptions(SequenceOptions):
    """Options of ``dyck``: ``kinds`` of brackets (k), and the largest ``depth`` (m)."""

    kinds: int = Field(default=2, ge=1, le=100)
    depth: int = Field(default=3, ge=2, le=10_000)


class Dyck(NextSymbolTask):
    """Say which of 2 k brackets may follow each of T = ``length`` brackets of Dyck-(k, m).

    An opening bracket may follow below depth m; the closing bracket of the last open kind above
    depth 0. A sequence begins at depth 0 and is a prefix of a word. Where both may follow, each
    comes with a chance of 1/2; kinds are uniform.
    """

    name = "dyck"
    Options: ClassVar[type[TaskOptions]] = DyckOptions
    minimum_length = 2
    defaults = TaskDefaults(
        cells=("rnn", "lstm"),
        lengths=(20, 40),
        hidden=64,
        batch=32,
        steps=2000,
        optimizer="adam",
        learning_rate=5e-3,
        clip_norm=1.0,
    )
    options: DyckOptions

    @property
    def inputs(self) -> Inputs:
        """Tokens: k opening brackets, then their closing ones."""
        return Inputs("token", 2 * self.options.kinds)

    @property
    def outputs(self) -> int:
        """2 k, in the order of the tokens."""
        return 2 * self.options.kinds

    def draw(self, rng: np.random.Generator, sequences: int) -> Batch:
        """Return brackets (T, B) and the sets of those that may follow (T, B, 2 k)."""
        kinds, most, shape = self.options.kinds, self.options.depth, (self.length, sequences)
        depth = _reflected(np.cumsum(2 * rng.integers(2, size=shape) - 1, axis=0), most)
        before = np.concatenate([np.zeros((1, sequences), depth.dtype), depth[:-1]])
        opens = depth > before
        last_open = _last_open(rng.integers(kinds, size=shape), depth, opens)
        closed = np.concatenate([last_open[:1], last_open[:-1]])
        inputs = np.where(opens, last_open, kinds + closed).astype(np.int32)
        targets = np.zeros((*shape, 2 * kinds))
        targets[..., :kinds] = (depth < most)[..., None]
        is_last_open = np.arange(kinds) == last_open[..., None]
        targets[..., kinds:] = is_last_open & (depth > 0)[..., None]
        return Batch(inputs, targets, np.ones(shape, dtype=np.bool_))

    def latent(self, batch: Batch) -> NDArray[np.integer]:
        """Return the depth: how many brackets are open."""
        depth: NDArray[np.integer] = np.cumsum(
            np.where(batch.inputs < self.options.kinds, 1, -1), axis=0
        )
        return depth

    def chances(self) -> Chances:
        """Compute the distribution of the depth, step by step."""
        kinds, most = self.options.kinds, self.options.depth
        depth, members = np.eye(most + 1)[0], np.empty((self.length, 2 * kinds))
        for t in range(self.length):
            up, down = depth[:-1] / 2, depth[1:] / 2
            up[0], down[-1] = depth[0], depth[-1]
            depth = np.concatenate([[0.0], up]) + np.concatenate([down, [0.0]])
            members[t, :kinds] = 1 - depth[most]
            members[t, kinds:] = (1 - depth[0]) / kinds
        return Chances(members, np.ones(self.length))

    def facts(self) -> dict[str, Any]:
        """Return the name of the baseline, and the language."""
        options = self.options
        facts = {"kinds": options.kinds, "depth": options.depth, "data": options.data}
        return {"baseline_name": "chance", **facts}


def _reflected(walk: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return an unbounded walk of steps +-1 as one between 0 and ``most`` that turns at both."""
    return most - np.abs(walk % (2 * most) - most)


def _last_open(
    kinds: NDArray[np.int64], depth: NDArray[np.int64], opens: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the kind of the last bracket that is still open (T, B); any kind at depth 0.

    Among the steps that end at one depth, in the order of time, each that opens a bracket puts its
    kind there, and the others leave it.

    Args:
        kinds: of the bracket that a step opens, if it opens one.
        depth: after each step.
        opens: whether a step opens a bracket.
    """
    order = np.argsort(depth, axis=0, kind="stable")
    steps = np.arange(len(depth))[:, None]
    opened = np.where(np.take_along_axis(opens, order, axis=0), steps, 0)
    latest = np.maximum.accumulate(opened, axis=0)
    by_depth = np.take_along_axis(np.take_along_axis(kinds, order, axis=0), latest, axis=0)
    result = np.empty_like(kinds)
    np.put_along_axis(result, order, by_depth, axis=0)
    return result
