"""Text from a trained model, token by token: p proportional to exp(logit / temperature). No framework import here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Batch, DivergedError, Trainer, UsageError, Vocabulary


def sample_text(
    trainer: Trainer,
    vocabulary: Vocabulary,
    *,
    prime: str,
    length: int,
    temperature: float,
    rng: np.random.Generator,
) -> str:
    """Return ``length`` tokens that the model writes after ``prime`` (which is not repeated in what is returned).

    The prime is read from a zero state, then each token is drawn and read in turn. Temperature 0
    takes the likeliest token. The trainer's carried state is left as it was.

    Raises:
        UsageError: an empty prime or one outside the vocabulary, a negative length, a temperature
            that is negative or not finite.
        DivergedError: a logit is not finite.
    """
    _check(prime, length, temperature)
    read = vocabulary.encode(prime)
    kept = trainer.state()
    written = np.empty(length, dtype=np.int32)
    try:
        for place in range(length):
            logits = _next_logits(trainer, read, carry=place > 0)
            written[place] = draw(logits, temperature, rng)
            read = written[place : place + 1]
    finally:
        trainer.load_state(kept)
    return vocabulary.decode(written)


def draw(logits: Array, temperature: float, rng: np.random.Generator) -> int:
    """Return one index of ``logits`` (V,), drawn with p proportional to exp(logit / temperature), in float64.

    Raises:
        DivergedError: a logit is not finite.
    """
    values = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(values).all():
        raise DivergedError("text cannot be sampled: the model's outputs are not finite")
    if temperature == 0:
        return int(np.argmax(values))
    with np.errstate(over="ignore"):  # a tiny temperature: -inf, hence probability 0
        cumulative = np.cumsum(np.exp((values - values.max()) / temperature))
    return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))


def _next_logits(trainer: Trainer, tokens: NDArray[np.int32], *, carry: bool) -> Array:
    """Return the logits (V,) after ``tokens`` (T,); the state stays carried."""
    inputs = np.ascontiguousarray(tokens, dtype=np.int32)[:, None]
    batch = Batch(inputs, np.zeros_like(inputs), np.ones(inputs.shape, dtype=np.bool_), carry=carry)
    logits: Array = trainer.outputs(trainer.put(batch))[-1, 0]
    return logits


def _check(prime: str, length: int, temperature: float) -> None:
    if not prime:
        raise UsageError("an empty prime: give at least one character for the text to start from")
    if length < 0:
        raise UsageError(f"a sample of length {length}: use 0 or more")
    if not (np.isfinite(temperature) and temperature >= 0):
        raise UsageError(
            f"temperature {temperature} is out of range: use 0 (the likeliest) or more"
        )
