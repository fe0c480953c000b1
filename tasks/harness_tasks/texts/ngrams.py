"""Baselines of text: uniform, unigram, bigram and trigram models, fitted to the training text.

Of words, the bigram model is discounted: adding to the counts of 10,000 words leaves no counts.

Additive smoothing with alpha = 0.1, no back-off::

    p(x | context) = (count(context x) + alpha) / (count(context) + alpha V)

On tinyshakespeare (first 90 % / last 10 %) this gives the known 4.174, 3.347, 2.484 and 2.046 nats
per character. A smaller alpha is better only from 4-grams on. Memory grows with the validation
text, never with V^3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

Text = NDArray[np.integer]  # (n,) token ids
ORDERS = {"uniform": 0, "unigram": 1, "bigram": 2, "trigram": 3}
ALPHA = 0.1
DISCOUNT = 0.75
FITTED_CHARACTERS = 10_000_000  # more training text would change at most the third digit
_CHUNK = 1 << 20
_DENSE = 1 << 22  # tables of up to this many counts are stored densely


def ngram_losses(
    training: Text, validation: Text, size: int, models: Iterable[str] = tuple(ORDERS)
) -> dict[str, float]:
    """Return model -> mean -ln p per token of ``validation``, for each of the ``models``.

    The first token is only context, as for a network. ``validation`` follows ``training``, so the
    last tokens of ``training`` are context too.
    """
    fitted, scored = training[:FITTED_CHARACTERS], validation[1:]
    before = np.concatenate([training[-max(ORDERS.values()) :], validation[:1]])
    return {name: ngram_loss(fitted, before, scored, size, ORDERS[name]) for name in models}


def ngram_loss(
    fitted: Text, before: Text, validation: Text, size: int, order: int, alpha: float = ALPHA
) -> float:
    """Return the loss of one model; ``order`` 1 is the unigram, 0 is uniform.

    ``validation`` follows ``before``.
    """
    if order == 0:
        return float(np.log(size))
    scored = np.concatenate([before[len(before) - order + 1 :], validation]).astype(np.int64)
    grams, contexts = _keys(scored, order, size), _keys(scored[:-1], order - 1, size)
    gram_counts = _counts(fitted, grams, order, size) + alpha
    # The last token of the text is not a context, because nothing follows it.
    context_text = fitted[:-1] if order > 1 else fitted
    context_counts = _counts(context_text, contexts, order - 1, size) + alpha * size
    return float(-np.mean(np.log(gram_counts / context_counts)))


def discounted_bigram_loss(training: Text, validation: Text, size: int) -> float:
    """Return the mean -ln p per token of a bigram model with absolute discounting.

    With d = 0.75 and n(v) the number of distinct tokens after v (Ney, Essen & Kneser 1994)::

        p(w | v) = (max(count(v w) - d, 0) + d n(v) p(w)) / count(v), or p(w) after an unseen v

    p(w) is the smoothed unigram. The first token of ``validation`` is only context.
    """
    fitted = training[:FITTED_CHARACTERS].astype(np.int64)
    before, after = validation[:-1].astype(np.int64), validation[1:].astype(np.int64)
    unigram = (np.bincount(fitted, minlength=size) + ALPHA) / (len(fitted) + ALPHA * size)
    contexts = np.bincount(fitted[:-1], minlength=size)[before]
    distinct = np.bincount(np.unique(_keys(fitted, 2, size)) // size, minlength=size)[before]
    counts = _counts(fitted, _keys(validation.astype(np.int64), 2, size), 2, size)
    left = np.where(contexts > 0, DISCOUNT * distinct, 1.0)
    p = (np.maximum(counts - DISCOUNT, 0) + left * unigram[after]) / np.maximum(contexts, 1)
    return float(-np.mean(np.log(p)))


def _keys(text: Text, length: int, size: int) -> NDArray[np.int64]:
    """Return one number per n-gram of ``text`` (for length 0: a 0 before, between and after)."""
    count = len(text) - length + 1
    keys = np.zeros(count, dtype=np.int64)
    for offset in range(length):
        keys *= size
        keys += text[offset : offset + count]
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
    wanted, inverse = np.unique(queries, return_inverse=True)
    counts = np.zeros(len(wanted), dtype=np.int64)
    for chunk in _chunks(text, length):
        keys = _keys(chunk, length, size)
        nearest = np.minimum(np.searchsorted(wanted, keys), len(wanted) - 1)
        counts += np.bincount(nearest[wanted[nearest] == keys], minlength=len(counts))
    return counts[inverse]


def _chunks(text: Text, length: int) -> Iterator[Text]:
    """Yield pieces that together contain every n-gram of ``text`` exactly once."""
    for start in range(0, len(text) - length + 1, _CHUNK):
        yield text[start : start + _CHUNK + length - 1]
