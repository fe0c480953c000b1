"""Word prediction: the most frequent words of a text, and one token for all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from harness.contract import TaskDefaults, TaskOptions, Vocabulary
from harness.contract.vocabulary import UNKNOWN, words_of
from harness_tasks.texts.corpora import Source
from harness_tasks.texts.next_token import NextToken, TextOptions
from harness_tasks.texts.ngrams import discounted_bigram_loss, ngram_losses
from harness_tasks.texts.text import Text, check_distinct_words, check_words, text_of


class WordsOptions(TextOptions):
    """Options of ``words``.

    Attributes:
        vocabulary: the most words to tell apart: the most frequent ones of the training text, and
            ``<unk>`` for all others.
        limit: use only this many words from the start (to overfit).
        validation_words: use only this many words of the rest, for network and n-grams alike.
    """

    vocabulary: int = Field(default=10_000, ge=2, le=1_000_000)
    validation_words: int = Field(default=20_000, ge=2)


class Words(NextToken):
    """Predict the next word of a text, cut by ``harness.contract.vocabulary.words_of``."""

    name = "words"
    Options: ClassVar[type[TaskOptions]] = WordsOptions
    defaults = TaskDefaults(
        cells=("rnn", "lstm"),
        lengths=(35,),  # as Zaremba, Sutskever & Vinyals 2014
        hidden=128,
        embedding=64,
        batch=16,
        tokens=300_000,
        optimizer="adam",
        learning_rate=4e-3,
        clip_norm=1.0,
    )
    unit = "word"
    longest_ngram = "bigram"
    options: WordsOptions

    def _count(self, raw: bytes | Path) -> int:
        split, limit = self.options.split, self.options.limit
        enough = max((self.length + 1) / split, 2 / (1 - split)) + 2
        words = check_words(self.options.corpus, raw, int(enough))
        return words if limit is None else min(words, limit)

    def _read(self, source: Source, data_seed: np.random.SeedSequence) -> Text:
        text, digest = text_of(self.options.corpus, source.read(data_seed, None))
        words = words_of(text)[: self.options.limit]
        check_distinct_words(self.options.corpus, words)
        counts = Counter(words[: self._split(len(words))])
        del counts[UNKNOWN]
        most = counts.most_common(self.options.vocabulary - 1)
        vocabulary = Vocabulary((UNKNOWN, *(word for word, _ in most)))
        return Text(vocabulary.ids_of(words), vocabulary, digest, len(set(words)))

    def _losses_of_ngrams(self) -> Mapping[str, float]:
        training, validation = self._training_text, self._validation_text
        size = self.text.vocabulary.size
        losses = ngram_losses(training, validation, size, ("uniform", "unigram"))
        return losses | {"bigram": discounted_bigram_loss(training, validation, size)}

    @property
    def _longest_validation(self) -> int:
        return self.options.validation_words

    def facts(self) -> dict[str, Any]:
        """Return the identity of the corpus, its sizes, the n-gram losses and the unknown words."""
        unknown = float(np.mean(self._validation_text == 0))
        size = self.text.vocabulary.size
        return super().facts() | {"vocabulary_size": size, "unknown_in_validation": unknown}
