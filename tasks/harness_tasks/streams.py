"""One text as parallel streams: windows follow one another, the state is carried (truncated BPTT)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.contract import Batch

Text = NDArray[np.integer]  # (n,) token ids


def stream_length(text: Text, streams: int) -> int:
    """Return the steps of one of ``streams`` equal, contiguous parts; the last token is only ever a target."""
    return (len(text) - 1) // streams


def affordable_streams(text: Text, batch: int, length: int) -> int:
    """Return how many streams, at most ``batch``, the text fills for at least one window (at least one stream)."""
    return min(batch, max(1, (len(text) - 1) // length))


def windows(text: Text, streams: int, length: int, *, pad: bool = False) -> Iterator[Batch]:
    """Yield windows of ``length`` steps over ``streams`` parallel streams, once; only the first has ``carry=False``.

    Targets are the next tokens. What is left of each stream after its last whole window is dropped or, with ``pad``,
    comes in a last window whose missing steps are masked.
    """
    steps = stream_length(text, streams)
    inputs = text[: streams * steps].reshape(streams, steps)
    targets = text[1 : streams * steps + 1].reshape(streams, steps)
    for start in range(0, steps if pad else steps - length + 1, length):
        cut = slice(start, start + length)
        yield _window(inputs[:, cut], targets[:, cut], length, carry=start > 0)


def _window(inputs: Text, targets: Text, length: int, *, carry: bool) -> Batch:
    """Return the batch of (B, steps) tokens, time-major and padded to ``length`` steps."""
    streams, steps = inputs.shape
    padded = np.zeros((2, length, streams), dtype=np.int32)
    padded[0, :steps], padded[1, :steps] = inputs.T, targets.T
    mask = np.zeros((length, streams), dtype=np.bool_)
    mask[:steps] = True
    return Batch(padded[0], padded[1], mask, carry=carry)
