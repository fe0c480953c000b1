"""A text as parallel streams of windows, with the state carried between them (truncated BPTT)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.contract import Batch

Text = NDArray[np.integer]  # (n,) token ids


def stream_length(text: Text, streams: int) -> int:
    """Return the steps of each of ``streams`` equal, contiguous parts of the text."""
    return (len(text) - 1) // streams


def affordable_streams(text: Text, batch: int, length: int) -> int:
    """Return how many streams, 1 to ``batch``, the text fills with at least one window each."""
    return min(batch, max(1, (len(text) - 1) // length))


def windows(text: Text, streams: int, length: int, *, pad: bool = False) -> Iterator[Batch]:
    """Yield windows of ``length`` steps over ``streams`` parallel streams, once through the text.

    Targets are the next tokens. Only the first window has ``carry=False``. The rest of each stream
    after its last whole window is dropped. With ``pad``, every token except the first is a target
    in exactly one stream: if the text does not divide evenly, the first streams are one step
    longer, and the last window has masked steps.
    """
    steps, remainder = divmod(len(text) - 1, streams)
    lengths = np.full(streams, steps)
    lengths[: remainder if pad else 0] += 1
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    end = int(lengths.max()) if pad else steps - length + 1
    for start in range(0, end, length):
        yield _window(text, starts + start, lengths - start, length, carry=start > 0)


def shuffled_windows(
    text: Text, batch: int, length: int, rng: np.random.Generator
) -> Iterator[Batch]:
    """Yield the windows of ``windows`` once, in random order, all with ``carry=False``.

    The number of batches is that of ``windows``, so that both orders see the same characters.
    """
    steps = stream_length(text, batch)
    in_stream = np.arange(0, steps - length + 1, length)
    starts = rng.permutation((steps * np.arange(batch)[:, None] + in_stream).ravel())
    whole = np.full(batch, length)
    for first in range(0, len(starts), batch):
        yield _window(text, starts[first : first + batch], whole, length, carry=False)


def _window(
    text: Text, starts: NDArray[np.int64], lengths: NDArray[np.int64], length: int, *, carry: bool
) -> Batch:
    """Return a window of ``length`` steps from ``starts`` (B,); ``lengths`` (B,) of them count."""
    mask = np.arange(length)[:, None] < lengths
    indices = np.where(mask, starts + np.arange(length)[:, None], 0)
    inputs, targets = (
        np.where(mask, text[indices + ahead], 0).astype(np.int32) for ahead in (0, 1)
    )
    return Batch(inputs, targets, mask, carry=carry)
