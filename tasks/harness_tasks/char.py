"""Character prediction: a text as parallel streams, truncated BPTT, n-gram baselines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, cycle, islice, repeat
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from harness.contract import (
    Array,
    Batch,
    CorpusError,
    Evaluation,
    Inputs,
    Loss,
    Score,
    Task,
    TaskDefaults,
    TaskOptions,
    UsageError,
    Vocabulary,
)
from harness_tasks.corpora import File, Source, locate
from harness_tasks.ngrams import FITTED_CHARACTERS, ngram_losses
from harness_tasks.sequences import check_length
from harness_tasks.streams import affordable_streams, stream_length, windows
from harness_tasks.text import Text, check_text, read_text


class CharOptions(TaskOptions):
    """Options of ``char``.

    Attributes:
        corpus: ``stdlib``, ``grammar``, the name of a download, or a path.
        vocabulary: the distinct ``characters`` of the text, or the 256 ``bytes`` (any file, of any
            size).
        limit: only the first so many characters (to over-fit); for ``grammar``, how many to
            generate.
        split: the fraction of the text, from its start, that is trained on; the rest validates.
        validation_characters: only the first so many characters of the rest are used, by network
            and n-grams alike, so that evaluating stays cheap. The default leaves tinyshakespeare's
            whole tenth.
    """

    corpus: str = Field(default="stdlib", min_length=1, max_length=4096)
    vocabulary: Literal["characters", "bytes"] = "characters"
    limit: int | None = Field(default=None, ge=2)
    split: float = Field(default=0.9, gt=0, lt=1)
    validation_characters: int = Field(default=120_000, ge=2)


class Char(Task):
    """Predict the next character of a text; T = ``length`` is the window through which the gradient flows.

    The training split is B contiguous parallel streams (what exceeds whole windows is dropped);
    windows follow one another with the state carried, and when the streams end they start again
    from a zero state. Validation has streams of its own. The loss is the mean cross-entropy per
    character in nats; the floor is known for ``grammar`` alone.
    """

    name = "char"
    Options: ClassVar[type[TaskOptions]] = CharOptions
    # The size and rate of char-rnn (128 units, 2e-3) with Adam. 250 steps are a first look, below
    # the bigram model; a thousand steps of 32 x 50 characters take an LSTM below the trigram model.
    defaults = TaskDefaults(
        hidden=128, batch=32, steps=250, optimizer="adam", learning_rate=2e-3, clip_norm=1.0
    )
    options: CharOptions

    def __init__(self, options: TaskOptions, length: int) -> None:
        super().__init__(options, length)
        check_length(self, length)
        self._source: Source | None = None
        self._text: Text | None = None
        self._ngrams: dict[str, float] = {}

    def check(self) -> None:
        """Find a corpus that is missing, is not a file, cannot be fetched, is not UTF-8, or is too short.

        Raises:
            UsageError: what is wrong with it, and the fix.
        """
        source = locate(self.options.corpus)
        size = self.options.limit
        if isinstance(source, File):
            size = check_text(self.options.corpus, source.path, as_bytes=self._as_bytes, limit=size)
        if size is not None:
            self._split(size)

    def files(self) -> Sequence[Path]:
        """Return the corpus, if it is a file."""
        source = locate(self.options.corpus)
        return [source.path] if isinstance(source, File) else []

    def prepare(self, data_seed: np.random.SeedSequence) -> None:
        """Read the text and fit the n-gram models.

        Raises:
            CorpusError: the text cannot be used, or is shorter than one window.
        """
        self._source = locate(self.options.corpus)
        raw = self._source.read(data_seed, self.options.limit)
        self._text = read_text(
            self.options.corpus, raw, as_bytes=self._as_bytes, limit=self.options.limit
        )
        self._ngrams = ngram_losses(
            self._training_text, self._validation_text, self._text.vocabulary.size
        )

    @property
    def _as_bytes(self) -> bool:
        return self.options.vocabulary == "bytes"

    @property
    def text(self) -> Text:
        """The whole text; known after ``prepare``."""
        if self._text is None:
            raise UsageError("task char: call prepare() first, it reads the text")
        return self._text

    def _split(self, characters: int) -> int:
        """Return how many characters are trained on; at least one window and one to validate on must be there."""
        training = int(self.options.split * characters)
        if training < self.length + 1 or characters - training < 2:  # noqa: PLR2004
            raise CorpusError(
                f"corpus {self.options.corpus!r} is too short: {characters:,} characters give {training:,} to train on "
                f"(split {self.options.split:g}) and {characters - training:,} to validate on, but length "
                f"{self.length:,} needs {self.length + 1:,} and 2; use a longer text (or limit) or a shorter length"
            )
        return training

    @property
    def _training_text(self) -> NDArray[np.integer]:
        return self.text.tokens[: self._split(len(self.text.tokens))]

    @property
    def _validation_text(self) -> NDArray[np.integer]:
        return self.text.tokens[self._split(len(self.text.tokens)) :][
            : self.options.validation_characters
        ]

    @property
    def inputs(self) -> Inputs:
        """Tokens of the vocabulary."""
        return Inputs("token", self.text.vocabulary.size)

    @property
    def outputs(self) -> int:
        """V."""
        return self.text.vocabulary.size

    @property
    def loss(self) -> Loss:
        """Cross-entropy per character."""
        return "cross_entropy"

    def training(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """Yield the windows of the training streams, epoch after epoch; the order is the text's, ``rng`` is not used.

        Raises:
            CorpusError: the text does not fill ``batch`` streams with one window each.
        """
        text = self._training_text
        if stream_length(text, batch) < self.length:
            possible = affordable_streams(text, batch, self.length)
            raise CorpusError(
                f"corpus {self.options.corpus!r} is too short: its {len(text):,} training characters do not fill "
                f"{batch:,} streams of {self.length:,}; use at most batch {possible:,}, or a shorter length"
            )
        return chain.from_iterable(windows(text, batch, self.length) for _ in repeat(None))

    def validation(self, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        """Return the validation text as at most ``batch`` streams (fewer where it is short), in order, to its end."""
        text = self._validation_text
        return list(
            windows(text, affordable_streams(text, batch, self.length), self.length, pad=True)
        )

    def training_sample(
        self, rng: np.random.Generator, batch: int, batches: int
    ) -> Sequence[Batch]:
        """Return consecutive windows from a random place of the training text; a short text repeats."""
        text = self._training_text
        streams = affordable_streams(
            self._validation_text, min(batch, (len(text) - 1) // self.length), self.length
        )
        wanted = streams * self.length * batches + 1
        start = int(rng.integers(0, max(1, len(text) - wanted + 1)))
        return list(
            islice(cycle(windows(text[start : start + wanted], streams, self.length)), batches)
        )

    def baseline(self) -> float:
        """Return the loss of the best of the uniform, unigram, bigram and trigram models on the validation text."""
        return self._ngrams[self._best_ngram()]

    def _best_ngram(self) -> str:
        self.text  # noqa: B018  says what is missing before prepare
        return min(self._ngrams, key=lambda name: self._ngrams[name])

    def floor(self) -> float | None:
        """Return the grammar's entropy rate, exact; None for real text."""
        rate: float | None = self._source.facts().get("entropy_rate") if self._source else None
        return rate

    def score(self, batch: Batch, outputs: Array) -> Score:
        """Count next characters that are predicted right."""
        right = (np.argmax(outputs, axis=-1) == batch.targets) & batch.mask
        return Score(float(np.count_nonzero(right)), float(np.count_nonzero(batch.mask)))

    def solved(self, evaluation: Evaluation) -> bool:
        """Say whether validation loss is below the best n-gram model's."""
        return evaluation.loss_validation < self.baseline()

    @property
    def criterion(self) -> str:
        """The criterion, in words."""
        return "validation loss below that of the best n-gram model up to trigrams (this project's criterion)"

    def steps_per_epoch(self, batch: int) -> float | None:
        """Return how many windows a stream of the training text holds."""
        return max(1, stream_length(self._training_text, batch) // self.length)

    @property
    def vocabulary(self) -> Vocabulary:
        """The characters of the text, or the bytes."""
        return self.text.vocabulary

    def facts(self) -> dict[str, Any]:
        """Return the corpus's identity, sizes and n-gram losses."""
        options, text = self.options, self.text
        return {
            "corpus": options.corpus,
            "digest": text.digest,
            "vocabulary": options.vocabulary,
            "characters": len(text.tokens),
            "distinct": text.distinct,
            "split": options.split,
            "training_characters": len(self._training_text),
            "validation_characters": len(self._validation_text),
            "ngram_fitted_characters": min(len(self._training_text), FITTED_CHARACTERS),
            "ngram_losses": self._ngrams,
            "ngram_bits": {name: loss / float(np.log(2)) for name, loss in self._ngrams.items()},
            "ngram_best": self._best_ngram(),
            **(self._source.facts() if self._source else {}),
        }
