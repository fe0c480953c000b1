"""Text from a trained model, token by token: p proportional to exp(logit / temperature)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.contract import (
    Array,
    Batch,
    DivergedError,
    Parameters,
    Trainer,
    UsageError,
    Vocabulary,
    array_dtype,
)
from harness.measure.events import Event, Facts, Sampled
from harness.measure.proof.streams import generator
from harness.measure.setup import Setup
from harness.plugins.validation import check_parameters

TEMPERATURES = (0.5, 0.8, 1.0)
OVER_TRAINING = TEMPERATURES[0]
LONGEST_TEXT = 1_000_000  # tokens


@dataclass(frozen=True)
class TextOverTraining:
    """Samples text while a model trains: after step 1, every some steps, and at the end.

    The steps are the same for every engine. The random numbers are the same each time, so that
    the texts differ by the weights alone.

    Attributes:
        setup: of the trial.
        length: of a text, in tokens; 0: no text is sampled.
        every: training steps between two texts; None: one text, after a tenth of training.
    """

    setup: Setup
    length: int
    every: int | None = None

    name: ClassVar[str] = "a sample of text"
    phase: ClassVar[str] = "sample"

    def next_step(self, step: int) -> int:
        """Return the first step after ``step`` at which to sample, or the last of training."""
        steps = self.setup.trial.steps
        if not self.length or self.setup.task.vocabulary is None:
            return steps
        if step < 1:
            return 1
        if self.every is None:
            tenth = max(1, steps // 10)
            return tenth if step < tenth else steps
        return min(steps, step - step % self.every + self.every)

    def during(self, trainer: Trainer, step: int) -> Iterator[Event]:
        """Yield the text after ``step`` updates."""
        dtype = array_dtype(self.setup.trial.dtype)
        parameters = check_parameters(trainer, self.setup.model, dtype, self.setup.label)
        for sample in self._texts(parameters, (OVER_TRAINING,)):
            yield Sampled(step, **sample)

    def at_end(self, parameters: Parameters, step: int) -> Iterator[Event]:
        """Yield the texts of the trained weights at each temperature."""
        if samples := self._texts(parameters, TEMPERATURES):
            yield Sampled(step, **samples[0])
            yield Facts(details={"samples": samples})

    def _texts(self, parameters: Parameters, temperatures: Sequence[float]) -> list[dict[str, Any]]:
        """Return texts of the reference at these weights: no engine compiles a batch of 1."""
        vocabulary = self.setup.task.vocabulary
        if vocabulary is None or not self.length:
            return []
        trainer = self.setup.reference_trainer(parameters)
        seed = self.setup.trial.seed
        return sample_texts(trainer, vocabulary, self.length, seed, temperatures)


def sample_texts(
    trainer: Trainer,
    vocabulary: Vocabulary,
    length: int,
    seed: int,
    temperatures: Sequence[float] = TEMPERATURES,
) -> list[dict[str, Any]]:
    """Return a text of ``length`` tokens at each temperature, for a record.

    Raises:
        DivergedError: a logit is not finite.
    """
    samples = []
    for temperature in temperatures:
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
        UsageError: the prime is empty or outside the vocabulary, the length is negative or above
            a million, or the temperature is negative or not finite.
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
    if not 0 <= length <= LONGEST_TEXT:
        raise UsageError(f"a sample of length {length}: use 0 to {LONGEST_TEXT:,}")
    if not (np.isfinite(temperature) and temperature >= 0):
        raise UsageError(
            f"temperature {temperature} is out of range: use 0 (the likeliest) or more"
        )
