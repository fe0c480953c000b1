"""Character prediction: the distinct characters of a text, or its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from harness.contract import TaskDefaults, TaskOptions
from harness_tasks.texts.corpora import Source
from harness_tasks.texts.next_token import NextToken, TextOptions
from harness_tasks.texts.ngrams import ngram_losses
from harness_tasks.texts.text import Text, check_text, read_text


class CharOptions(TextOptions):
    """Options of ``char``.

    Attributes:
        vocabulary: the distinct ``characters`` of the text, or the 256 ``bytes`` (for any file of
            any size).
        limit: use only this many characters from the start (to overfit); for ``grammar``, generate
            this many.
        validation_characters: use only this many characters of the rest, for network and n-grams
            alike, so that an evaluation stays cheap. The default covers the whole last tenth of
            tinyshakespeare.
    """

    vocabulary: Literal["characters", "bytes"] = "characters"
    validation_characters: int = Field(default=120_000, ge=2)


class Char(NextToken):
    """Predict the next character of a text. The floor is known only for ``grammar``."""

    name = "char"
    Options: ClassVar[type[TaskOptions]] = CharOptions
    # Small batches and a large rate: many updates in little time. An LSTM then falls clearly below
    # the trigrams at each length. All lengths train on equally many characters, because longer
    # windows would otherwise see more text and seem better.
    defaults = TaskDefaults(
        cells=("rnn", "lstm"),
        lengths=(25, 50, 100),
        hidden=128,
        batch=16,
        tokens=1_200_000,
        optimizer="adam",
        learning_rate=8e-3,
        clip_norm=1.0,
    )
    unit = "character"
    longest_ngram = "trigram"
    options: CharOptions

    def _count(self, raw: bytes | Path) -> int:
        corpus, limit = self.options.corpus, self.options.limit
        return check_text(corpus, raw, as_bytes=self._as_bytes, limit=limit)

    def _read(self, source: Source, data_seed: np.random.SeedSequence) -> Text:
        corpus, limit = self.options.corpus, self.options.limit
        raw = source.read(data_seed, limit)
        return read_text(corpus, raw, as_bytes=self._as_bytes, limit=limit)

    def _losses_of_ngrams(self) -> Mapping[str, float]:
        size = self.text.vocabulary.size
        return ngram_losses(self._training_text, self._validation_text, size)

    @property
    def _longest_validation(self) -> int:
        return self.options.validation_characters

    @property
    def _as_bytes(self) -> bool:
        return self.options.vocabulary == "bytes"

    def floor(self) -> float | None:
        """Return the exact entropy rate of ``grammar``; None for real text."""
        rate: float | None = self._source.facts().get("entropy_rate") if self._source else None
        return rate

    def facts(self) -> dict[str, Any]:
        """Return the identity of the corpus, its sizes, and the n-gram losses."""
        return super().facts() | {"vocabulary": self.options.vocabulary}
