"""Text to token ids and back. A vocabulary is stored as plain JSON: no pickle, no framework."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.contract.errors import UsageError

UNKNOWN = "<unk>"  # the word that stands for all words outside a vocabulary
_WORD = re.compile(rf"{UNKNOWN}|[^\S\n]*\n\s*|\w+(?:['-]\w+)*|[^\w\s]")


@dataclass(frozen=True)
class Vocabulary:
    """The distinct characters of a text, sorted; or words; or all 256 byte values.

    Attributes:
        symbols: the characters as one string; the words as a tuple; None for bytes.
    """

    symbols: str | tuple[str, ...] | None

    @property
    def size(self) -> int:
        """V, the number of token ids."""
        return 256 if self.symbols is None else len(self.symbols)

    @property
    def has_words(self) -> bool:
        """Whether a token is a word."""
        return isinstance(self.symbols, tuple)

    @property
    def prime(self) -> str:
        """The default start of a sample: a line break if the text has one, else a symbol of it."""
        return "\n" if self.symbols is None or "\n" in self.symbols else self.symbols[0]

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: index for index, symbol in enumerate(self.symbols or "")}

    def encode(self, text: str) -> NDArray[np.int32]:
        """Return the ids (n,).

        Raises:
            UsageError: a character is not in the vocabulary. Such a word is ``<unk>``, if the
                vocabulary has that.
        """
        if self.symbols is None:
            return np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.int32)
        if self.has_words:
            return self.ids_of(words_of(text))
        unknown = sorted(set(text) - self._ids.keys())
        if unknown:
            raise UsageError(
                f"character {unknown[0]!r} does not occur in the training text; "
                f"it has {self.symbols!r}"
            )
        return self.ids_of(text)

    def ids_of(self, symbols: Iterable[str]) -> NDArray[np.int32]:
        """Return the ids (n,) of characters or words; of others that of ``<unk>``.

        Raises:
            UsageError: there is no ``<unk>``.
        """
        unknown = self._ids.get(UNKNOWN, -1)
        ids = np.array([self._ids.get(symbol, unknown) for symbol in symbols], dtype=np.int32)
        if ids.size and ids.min() < 0:
            raise UsageError(f"a symbol is not in the vocabulary, which has no {UNKNOWN}")
        return ids

    def decode(self, tokens: NDArray[np.int32]) -> str:
        """Return the text of ids (n,); invalid UTF-8 becomes replacement characters.

        Words have a blank between them, and none at the ends of lines.

        Raises:
            IndexError: the vocabulary has characters or words, and an id is not below ``size``.
        """
        if self.symbols is None:
            return bytes(tokens.astype(np.uint8)).decode("utf-8", errors="replace")
        symbols = [self.symbols[token] for token in tokens]
        if not self.has_words:
            return "".join(symbols)
        return re.sub(" ?\n ?", "\n", " ".join(symbols))


def words_of(text: str) -> list[str]:
    """Return the words of a text, punctuation marks and line breaks among them.

    A word is letters and digits, with ``'`` and ``-`` inside; or ``<unk>``. Every other mark is
    one of its own. Empty lines are left out.
    """
    return ["\n" if word.isspace() else word for word in _WORD.findall(text)]
