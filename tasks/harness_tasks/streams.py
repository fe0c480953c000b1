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

    Targets are the next tokens. What is left of each stream after its last whole window is dropped.
    With ``pad``, every token but the first is the target of one stream: the first streams are one
    step longer where the text does not divide evenly, and the last window has masked steps.
    """
    steps, over = divmod(len(text) - 1, streams)
    lengths = np.full(streams, steps)
    lengths[: over if pad else 0] += 1
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    for start in range(0, int(lengths.max()) if pad else steps - length + 1, length):
        yield _window(text, starts + start, lengths - start, length, carry=start > 0)


def _window(
    text: Text, starts: NDArray[np.int64], lengths: NDArray[np.int64], length: int, *, carry: bool
) -> Batch:
    """Return the window of ``length`` steps from ``starts`` (B,), of which the first ``lengths`` (B,) count."""
    mask = np.arange(length)[:, None] < lengths
    indices = np.where(mask, starts + np.arange(length)[:, None], 0)
    tokens = [np.where(mask, text[indices + ahead], 0).astype(np.int32) for ahead in (0, 1)]
    return Batch(tokens[0], tokens[1], mask, carry=carry)
