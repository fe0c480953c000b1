"""Prediction of the next token: a text as parallel streams, truncated BPTT, n-gram baselines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, cycle, islice, repeat
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from harness.contract import (
    Array,
    Batch,
    CorpusError,
    Evaluation,
    Inputs,
    Loss,
    Score,
    Task,
    TaskOptions,
    UsageError,
    Vocabulary,
)
from harness_tasks.sequences import check_length
from harness_tasks.texts.corpora import File, Source, locate
from harness_tasks.texts.ngrams import FITTED_CHARACTERS
from harness_tasks.texts.streams import (
    affordable_streams,
    shuffled_windows,
    stream_length,
    windows,
)
from harness_tasks.texts.text import Text


class TextOptions(TaskOptions):
    """Options of every text.

    Attributes:
        corpus: ``pydoc``, ``stdlib``, ``grammar``, the name of a download, or a path.
        limit: use only this many tokens from the start (to overfit).
        split: the fraction of the text, from its start, to train on; the rest is for validation.
        order: of the training windows. ``carried``: one after the other through each stream, each
            from the state of the one before. ``shuffled``: in random order, each from a zero
            state. Validation carries the state either way.
    """

    corpus: str = Field(default="pydoc", min_length=1, max_length=4096)
    limit: int | None = Field(default=None, ge=2)
    split: float = Field(default=0.9, gt=0, lt=1)
    order: Literal["carried", "shuffled"] = "carried"

    @model_serializer(mode="wrap")
    def _without_the_usual_order(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out ``order`` at its default, so that the ids of stored trials stay."""
        options: dict[str, Any] = handler(self)
        if self.order == "carried":
            del options["order"]
        return options


class NextToken(Task):
    """Predict the next token of a text. T = ``length`` is the window of truncated BPTT.

    The training text is split into B contiguous parallel streams of whole windows; the rest is
    dropped. The state is carried from window to window. At the end, the streams start again from a
    zero state. The option ``order`` shuffles the windows instead. Validation has its own streams.
    The loss is the mean cross-entropy per token in nats.

    Attributes:
        unit: what a token is called.
        longest_ngram: the longest model of the baseline.
    """

    unit: ClassVar[str]
    longest_ngram: ClassVar[str]
    options: TextOptions

    def __init__(self, options: TaskOptions, length: int) -> None:
        super().__init__(options, length)
        check_length(self, length)
        self._source: Source | None = None
        self._text: Text | None = None
        self._ngrams: Mapping[str, float] = {}

    @property
    @abstractmethod
    def _longest_validation(self) -> int:
        """The most tokens to validate on."""

    @abstractmethod
    def _read(self, source: Source, data_seed: np.random.SeedSequence) -> Text:
        """Return the tokens of a source.

        Raises:
            CorpusError: the text cannot be used.
        """

    @abstractmethod
    def _losses_of_ngrams(self) -> Mapping[str, float]:
        """Return model -> its loss on the validation text, fitted to the training text."""

    @abstractmethod
    def _count(self, raw: bytes | Path) -> int:
        """Return the number of tokens of a text, at least if it is too short.

        Raises:
            CorpusError: the text cannot be used.
        """

    def check(self) -> None:
        """Check the corpus.

        Raises:
            UsageError: it is missing, is not a file, cannot be downloaded, is not UTF-8, or is too
                short; with the fix.
        """
        raw = locate(self.options.corpus).stored()
        tokens = self.options.limit if raw is None else self._count(raw)
        if tokens is not None:
            self._split(tokens)

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
        self._text = self._read(self._source, data_seed)
        self._ngrams = self._losses_of_ngrams()

    @property
    def text(self) -> Text:
        """The whole text; available after ``prepare``."""
        if self._text is None:
            raise UsageError(f"task {self.name}: call prepare() first, it reads the text")
        return self._text

    def _split(self, tokens: int) -> int:
        """Return the number of training tokens.

        Raises:
            CorpusError: there is not one window to train on and one token to validate on.
        """
        training = int(self.options.split * tokens)
        if training < self.length + 1 or tokens - training < 2:  # noqa: PLR2004
            raise CorpusError(
                f"corpus {self.options.corpus!r} is too short: {tokens:,} {self.unit}s give "
                f"{training:,} to train on (split {self.options.split:g}) and "
                f"{tokens - training:,} to validate on, but length {self.length:,} needs "
                f"{self.length + 1:,} and 2; use a longer text (or limit) or a shorter length"
            )
        return training

    @property
    def _training_text(self) -> NDArray[np.integer]:
        return self.text.tokens[: self._split(len(self.text.tokens))]

    @property
    def _validation_text(self) -> NDArray[np.integer]:
        return self._held_out_text[: self._longest_validation]

    @property
    def _test_text(self) -> NDArray[np.integer]:
        most = self._longest_validation
        return self._held_out_text[most : 2 * most]

    @property
    def _held_out_text(self) -> NDArray[np.integer]:
        return self.text.tokens[self._split(len(self.text.tokens)) :]

    @property
    def inputs(self) -> Inputs:
        """Tokens of the vocabulary."""
        return Inputs("token", self.text.vocabulary.size)

    @property
    def outputs(self) -> int:
        """V, the size of the vocabulary."""
        return self.text.vocabulary.size

    @property
    def loss(self) -> Loss:
        """Cross-entropy per token."""
        return "cross_entropy"

    def training(self, rng: np.random.Generator, batch: int) -> Iterator[Batch]:
        """Yield the training windows epoch after epoch, in the option's ``order``.

        Only ``shuffled`` draws from ``rng``: a new order in each epoch.

        Raises:
            CorpusError: the text does not fill ``batch`` streams with one window each.
        """
        text = self._training_text
        if stream_length(text, batch) < self.length:
            possible = affordable_streams(text, batch, self.length)
            raise CorpusError(
                f"corpus {self.options.corpus!r} is too short: its {len(text):,} training "
                f"{self.unit}s do not fill {batch:,} streams of {self.length:,}; "
                f"use at most batch {possible:,}, or a shorter length"
            )
        if self.options.order == "shuffled":
            return chain.from_iterable(
                shuffled_windows(text, batch, self.length, rng) for _ in repeat(None)
            )
        return chain.from_iterable(windows(text, batch, self.length) for _ in repeat(None))

    def validation(self, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        """Return the whole validation text in order, as up to ``batch`` streams."""
        return self._in_order(self._validation_text, batch)

    @property
    def evaluation_sets(self) -> Sequence[str]:
        """``test``: the text after that for validation, if there is a whole window."""
        return ("test",) if len(self._test_text) > self.length else ()

    def evaluation_set(self, name: str, rng: np.random.Generator, batch: int) -> Sequence[Batch]:
        """Return the test text in order, as up to ``batch`` streams."""
        return self._in_order(self._test_text, batch)

    def _in_order(self, text: NDArray[np.integer], batch: int) -> list[Batch]:
        streams = affordable_streams(text, batch, self.length)
        return list(windows(text, streams, self.length, pad=True))

    def training_sample(
        self, rng: np.random.Generator, batch: int, batches: int
    ) -> Sequence[Batch]:
        """Return consecutive windows from a random start; a short training text repeats."""
        text = self._training_text
        most = min(batch, (len(text) - 1) // self.length)
        streams = affordable_streams(self._validation_text, most, self.length)
        wanted = streams * self.length * batches + 1
        start = int(rng.integers(0, max(1, len(text) - wanted + 1)))
        sample = windows(text[start : start + wanted], streams, self.length)
        return list(islice(cycle(sample), batches))

    def baseline(self) -> float:
        """Return the loss of the best n-gram model on the validation text."""
        return self._ngrams[self._best_ngram()]

    def _best_ngram(self) -> str:
        self.text  # noqa: B018  raises an error before prepare
        return min(self._ngrams, key=lambda name: self._ngrams[name])

    def score(self, batch: Batch, outputs: Array) -> Score:
        """Count correct predictions of the next token."""
        right = (np.argmax(outputs, axis=-1) == batch.targets) & batch.mask
        return Score(float(np.count_nonzero(right)), float(np.count_nonzero(batch.mask)))

    def solved(self, evaluation: Evaluation) -> bool:
        """Return whether the validation loss is below that of the best n-gram model."""
        return evaluation.loss_validation < self.baseline()

    @property
    def criterion(self) -> str:
        """The criterion, in words."""
        return (
            f"validation loss below that of the best n-gram model up to {self.longest_ngram}s "
            "(this project's criterion)"
        )

    def steps_per_epoch(self, batch: int) -> float | None:
        """Return the number of batches in one pass through the training text."""
        return max(1, stream_length(self._training_text, batch) // self.length)

    @property
    def vocabulary(self) -> Vocabulary:
        """The tokens of the text."""
        return self.text.vocabulary

    def facts(self) -> dict[str, Any]:
        """Return the identity of the corpus, its sizes, and the n-gram losses."""
        options, text, tokens = self.options, self.text, f"{self.unit}s"
        return {
            "corpus": options.corpus,
            "digest": text.digest,
            "vocabulary": tokens,
            tokens: len(text.tokens),
            "distinct": text.distinct,
            "split": options.split,
            f"training_{tokens}": len(self._training_text),
            f"validation_{tokens}": len(self._validation_text),
            f"ngram_fitted_{tokens}": min(len(self._training_text), FITTED_CHARACTERS),
            "ngram_losses": self._ngrams,
            "ngram_bits": {name: loss / float(np.log(2)) for name, loss in self._ngrams.items()},
            "ngram_best": self._best_ngram(),
            **(self._source.facts() if self._source else {}),
        }
