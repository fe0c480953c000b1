"""Baselines of text: uniform, unigram, bigram and trigram models, fitted on one text and scored on what follows it.

p(x | context) = (count(context x) + alpha) / (count(context) + alpha V), with alpha = 0.1: additive smoothing, no
back-off. On tinyshakespeare (first 90 % / last 10 %) this gives the known 4.174, 3.347, 2.484 and 2.046 nats per
character; a smaller alpha wins only from 4-grams on. Memory grows with the validation text, never with V^3.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Text = NDArray[np.integer]  # (n,) token ids
ORDERS = {"uniform": 0, "unigram": 1, "bigram": 2, "trigram": 3}
ALPHA = 0.1
FITTED_CHARACTERS = (
    10_000_000  # further training text is not read: it would change the third digit at most
)
_CHUNK = 1 << 20
_DENSE = 1 << 22  # tables of up to this many counts are held whole


def ngram_losses(training: Text, validation: Text, size: int) -> dict[str, float]:
    """Return the mean -ln p per token of ``validation``, but for its first, for each model of ``ORDERS``.

    The first token is context alone, as it is for a network. ``validation`` follows ``training``,
    whose last tokens are the context of its first ones.
    """
    fitted = training[:FITTED_CHARACTERS]
    before, scored = (
        np.concatenate([training[-max(ORDERS.values()) :], validation[:1]]),
        validation[1:],
    )
    return {name: ngram_loss(fitted, before, scored, size, order) for name, order in ORDERS.items()}


def ngram_loss(
    fitted: Text, before: Text, validation: Text, size: int, order: int, alpha: float = ALPHA
) -> float:
    """Return the loss of one model (``order`` 1 is the unigram, 0 is uniform); ``validation`` follows ``before``."""
    if order == 0:
        return float(np.log(size))
    scored = np.concatenate([before[len(before) - order + 1 :], validation]).astype(np.int64)
    grams, contexts = _keys(scored, order, size), _keys(scored[:-1], order - 1, size)
    seen = _counts(fitted, grams, order, size) + alpha
    tried = _counts(fitted[:-1] if order > 1 else fitted, contexts, order - 1, size) + alpha * size
    return float(-np.mean(np.log(seen / tried)))


def _keys(text: Text, length: int, size: int) -> NDArray[np.int64]:
    """Return one number per n-gram of ``text`` (for length 0: a 0 per place between tokens)."""
    places = len(text) - length + 1
    keys = np.zeros(places, dtype=np.int64)
    for offset in range(length):
        keys *= size
        keys += text[offset : offset + places]
    return keys


def _counts(text: Text, queries: NDArray[np.int64], length: int, size: int) -> NDArray[np.int64]:
    """Return how often each queried n-gram occurs in ``text``."""
    if length == 0:
        return np.full(len(queries), len(text), dtype=np.int64)
    if size**length <= _DENSE:
        table = np.zeros(size**length, dtype=np.int64)
        for chunk in _chunks(text, length):
            table += np.bincount(_keys(chunk, length, size), minlength=len(table))
        return table[queries]
    wanted, places = np.unique(queries, return_inverse=True)
    found = np.zeros(len(wanted), dtype=np.int64)
    for chunk in _chunks(text, length):
        keys = _keys(chunk, length, size)
        nearest = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
        found += np.bincount(nearest[wanted[nearest] == keys], minlength=len(found))
    return found[places]


def _chunks(text: Text, length: int) -> Iterator[Text]:
    """Yield pieces that hold every n-gram of ``text`` exactly once."""
    for start in range(0, len(text) - length + 1, _CHUNK):
        yield text[start : start + _CHUNK + length - 1]
