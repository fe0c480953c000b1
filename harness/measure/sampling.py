"""Text from a trained model, token by token: p proportional to exp(logit / temperature)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array, Batch, DivergedError, Trainer, UsageError, Vocabulary
from harness.measure.proof.streams import generator

TEMPERATURES = (0.5, 0.8, 1.0)


def sample_texts(
    trainer: Trainer, vocabulary: Vocabulary, length: int, seed: int
) -> list[dict[str, object]]:
    """Return a text of ``length`` tokens at each temperature, for a record.

    Raises:
        DivergedError: a logit is not finite.
    """
    samples = []
    for temperature in TEMPERATURES:
        text = sample_text(
            trainer,
            vocabulary,
            prime=vocabulary.prime,
            length=length,
            temperature=temperature,
            rng=generator(seed, "sample", str(temperature)),
        )
        samples.append({"temperature": temperature, "prime": vocabulary.prime, "text": text})
    return samples


def sample_text(
    trainer: Trainer,
    vocabulary: Vocabulary,
    *,
    prime: str,
    length: int,
    temperature: float,
    rng: np.random.Generator,
) -> str:
    """Return the ``length`` tokens that the model writes after ``prime``.

    The prime is read from a zero state, then each token is drawn and read in turn. Temperature 0
    takes the likeliest token. The trainer's carried state is restored.

    Raises:
        UsageError: the prime is empty or outside the vocabulary, the length is negative, or the
            temperature is negative or not finite.
        DivergedError: a logit is not finite.
    """
    _check(prime, length, temperature)
    read = vocabulary.encode(prime)
    state = trainer.state()
    written = np.empty(length, dtype=np.int32)
    try:
        for index in range(length):
            logits = _next_logits(trainer, read, carry=index > 0)
            written[index] = draw(logits, temperature, rng)
            read = written[index : index + 1]
    finally:
        trainer.load_state(state)
    return vocabulary.decode(written)


def draw(logits: Array, temperature: float, rng: np.random.Generator) -> int:
    """Draw an index of ``logits`` (V,) with p proportional to exp(logit / temperature).

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
    """Return the logits (V,) after ``tokens`` (T,). The trainer carries the state on."""
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
