"""Text to token ids and back. A vocabulary is stored as plain JSON: no pickle, no framework."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.contract.errors import UsageError


@dataclass(frozen=True)
class Vocabulary:
    """The distinct characters of a text, sorted; or all 256 byte values if ``symbols`` is None."""

    symbols: str | None

    @property
    def size(self) -> int:
        """V, the number of token ids."""
        return 256 if self.symbols is None else len(self.symbols)

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
            UsageError: a character is not in the vocabulary.
        """
        if self.symbols is None:
            return np.frombuffer(text.encode("utf-8"), dtype=np.uint8).astype(np.int32)
        unknown = sorted(set(text) - self._ids.keys())
        if unknown:
            raise UsageError(
                f"character {unknown[0]!r} does not occur in the training text; "
                f"it has {self.symbols!r}"
            )
        return np.array([self._ids[symbol] for symbol in text], dtype=np.int32)

    def decode(self, tokens: NDArray[np.int32]) -> str:
        """Return the text of ids (n,); invalid UTF-8 becomes replacement characters.

        Raises:
            IndexError: the vocabulary has characters, and an id is not below ``size``.
        """
        if self.symbols is None:
            return bytes(tokens.astype(np.uint8)).decode("utf-8", errors="replace")
        return "".join(self.symbols[token] for token in tokens)
