"""From raw bytes to token ids: vocabulary, digest, and errors with a byte offset and the fix.

``characters`` means strict UTF-8. A byte order mark at the start is dropped; everything else is
kept, CR LF too. ``bytes`` means the exact file, memory-mapped, of any size.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.contract import CorpusError, Vocabulary
from harness.contract.vocabulary import words_of

LARGEST_CHARACTER_FILE_BYTES = 256 * 1024 * 1024  # decoding needs about eight times as much memory
BYTES_FIX = "train on its bytes: -t char --set task.char.vocabulary=bytes"
TEXT_FIX = "give a text of at least some thousand characters"
BYTES = Vocabulary(None)
_UNICODE = 0x110000
_CHUNK = 1 << 22

Tokens = NDArray[np.integer]  # (n,)


@dataclass(frozen=True, eq=False)
class Text:
    """A text as token ids.

    Attributes:
        tokens: (n,) unsigned.
        vocabulary: of V tokens.
        digest: the SHA-256 of the source's bytes.
        distinct: how many of the V tokens occur.
    """

    tokens: Tokens
    vocabulary: Vocabulary
    digest: str
    distinct: int


def read_text(name: str, raw: bytes | Path, *, as_bytes: bool, limit: int | None) -> Text:
    """Return the text of a source, cut to its first ``limit`` characters (or bytes).

    Raises:
        CorpusError: it is empty, has one distinct character, is not UTF-8, contains NUL, or is too
            large to decode.
    """
    content = _content(name, raw)
    digest = hashlib.sha256(content.data).hexdigest()
    _examine(name, content, as_bytes=as_bytes, limit=limit)
    tokens: Tokens = content[:limit]
    vocabulary = BYTES
    if not as_bytes:
        tokens, vocabulary = _characters("".join(_texts(name, content, limit)))
    return Text(tokens, vocabulary, digest, _distinct(tokens) if as_bytes else vocabulary.size)


def text_of(name: str, raw: bytes | Path) -> tuple[str, str]:
    """Return the whole text of a source, and the SHA-256 of its bytes.

    Raises:
        CorpusError: as in ``read_text``.
    """
    content = _content(name, raw)
    digest = hashlib.sha256(content.data).hexdigest()
    _examine(name, content, as_bytes=False, limit=None)
    return "".join(_texts(name, content, None)), digest


def check_text(name: str, raw: bytes | Path, *, as_bytes: bool, limit: int | None) -> int:
    """Return the number of characters (or bytes) of ``read_text``, with a few megabytes of memory.

    Raises:
        CorpusError: as in ``read_text``.
    """
    return _checked(name, *_state(name, raw), as_bytes, limit)


def check_words(name: str, raw: bytes | Path, enough: int) -> int:
    """Return the number of words of a text; beyond ``enough`` they are not counted.

    Raises:
        CorpusError: as in ``read_text``, or there is one distinct word.
    """
    check_text(name, raw, as_bytes=False, limit=None)
    return _words(name, *_state(name, raw), enough)


def _state(name: str, raw: bytes | Path) -> tuple[bytes | Path, tuple[int, ...]]:
    """Return a key for a text: a file with its size and time of change."""
    if isinstance(raw, bytes):
        return raw, ()
    try:
        status = raw.stat()
    except OSError as error:
        raise CorpusError(f"corpus {name!r} cannot be read: {error}") from error
    return raw.resolve(), (status.st_size, status.st_mtime_ns)


# Cached, because a plan checks a text for each length.
@cache
def _checked(
    name: str, raw: bytes | Path, _state: tuple[int, ...], as_bytes: bool, limit: int | None
) -> int:
    return _examine(name, _content(name, raw), as_bytes=as_bytes, limit=limit)


@cache
def _words(name: str, raw: bytes | Path, _state: tuple[int, ...], enough: int) -> int:
    count, distinct = 0, set[str]()
    for piece in _texts(name, _content(name, raw), None):
        words = words_of(piece)
        count += len(words)
        distinct.update(words)
        if count >= enough and len(distinct) > 2:  # noqa: PLR2004  one may be a line break
            break
    check_distinct_words(name, distinct)
    return count


def _examine(name: str, content: NDArray[np.uint8], *, as_bytes: bool, limit: int | None) -> int:
    """Return the number of characters (or bytes) of a text.

    Raises:
        CorpusError: the text cannot be used.
    """
    count, distinct = 0, set[str]()
    for piece in _bytes(content[:limit]) if as_bytes else _texts(name, content, limit):
        count += len(piece)
        if len(distinct) < 2:  # noqa: PLR2004
            distinct |= set(piece)
    if not count:
        raise CorpusError(f"corpus {name!r} is empty; {TEXT_FIX}")
    if len(distinct) == 1:
        raise _only_one(name, "character", distinct)
    return count


def check_distinct_words(name: str, words: Iterable[str]) -> None:
    """Check that a text has more than one distinct word besides line breaks.

    Raises:
        CorpusError: it has one.
    """
    distinct = {*words} - {"\n"}
    if len(distinct) == 1:
        raise _only_one(name, "word", distinct)


def _only_one(name: str, unit: str, tokens: set[str]) -> CorpusError:
    problem = f"corpus {name!r} holds only one distinct {unit}, {min(tokens)!r}"
    return CorpusError(f"{problem}: there is nothing to predict")


def _bytes(content: NDArray[np.uint8]) -> Iterator[str]:
    """Yield the bytes as characters of the same code."""
    for start in range(0, len(content), _CHUNK):
        yield content[start : start + _CHUNK].tobytes().decode("latin-1")


def _texts(name: str, content: NDArray[np.uint8], limit: int | None) -> Iterator[str]:
    """Yield the characters of a text in pieces, at most ``limit`` in total.

    Raises:
        CorpusError: it is not UTF-8, contains NUL, or is too large to decode.
    """
    window, mark, whole = _window(name, content, limit)
    decoder, left = codecs.getincrementaldecoder("utf-8")("strict"), limit
    for start in range(0, len(window), _CHUNK):
        piece = window[start : start + _CHUNK].tobytes()
        begin = mark + start - len(decoder.getstate()[0])  # of the bytes that this call decodes
        try:
            text = decoder.decode(piece, final=whole and start + _CHUNK >= len(window))[:left]
        except UnicodeDecodeError as error:
            head = content[:2].tobytes()
            problem = _not_utf8(name, head, error.object[error.start], begin + error.start)
            raise CorpusError(problem) from error
        if (at := text.find("\0")) >= 0:
            offset = begin + len(text[:at].encode())
            raise CorpusError(
                f"corpus {name!r} is not a text: a NUL at byte {offset:,}; {BYTES_FIX}"
            )
        yield text
        if left is not None and (left := left - len(text)) <= 0:
            return


def _content(name: str, raw: bytes | Path) -> NDArray[np.uint8]:
    if isinstance(raw, bytes):
        return np.frombuffer(raw, dtype=np.uint8)
    try:
        if raw.stat().st_size == 0:  # an empty file cannot be mapped
            return np.empty(0, dtype=np.uint8)
        return np.memmap(raw, dtype=np.uint8, mode="r")
    except OSError as error:
        raise CorpusError(f"corpus {name!r} cannot be read: {error}") from error


def _distinct(tokens: Tokens) -> int:
    counts = sum(
        np.bincount(tokens[start : start + _CHUNK], minlength=256)
        for start in range(0, len(tokens), _CHUNK)
    )
    return int(np.count_nonzero(counts))


def _window(
    name: str, content: NDArray[np.uint8], limit: int | None
) -> tuple[NDArray[np.uint8], int, bool]:
    """Return the bytes that ``limit`` characters may need, their offset, and if they are all."""
    mark = len(codecs.BOM_UTF8) if content[:3].tobytes() == codecs.BOM_UTF8 else 0
    stop = len(content) if limit is None else min(len(content), mark + 4 * limit)
    if stop > LARGEST_CHARACTER_FILE_BYTES:
        largest = f"{LARGEST_CHARACTER_FILE_BYTES:,}"
        raise CorpusError(
            f"corpus {name!r}: {stop:,} bytes are more than {largest} to decode; "
            f"use a part of it, or {BYTES_FIX}"
        )
    return content[mark:stop], mark, stop == len(content)


def _not_utf8(name: str, head: bytes, byte: int, offset: int) -> str:
    utf16 = head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "UTF-16" if utf16 else "ITS-ENCODING"
    convert = f"convert it (iconv -f {encoding} -t UTF-8), or {BYTES_FIX}"
    return f"corpus {name!r} is not UTF-8: byte 0x{byte:02x} at byte {offset:,}; {convert}"


def _characters(text: str) -> tuple[Tokens, Vocabulary]:
    """Return the tokens and the vocabulary of the distinct characters in sorted order."""
    encoding, dtype = ("ascii", np.uint8) if text.isascii() else ("utf-32-le", np.uint32)
    codes: Tokens = np.frombuffer(text.encode(encoding), dtype=dtype)
    present = np.zeros(_UNICODE, dtype=np.bool_)
    pieces = [slice(start, start + _CHUNK) for start in range(0, len(codes), _CHUNK)]
    for piece in pieces:
        present[codes[piece]] = True
    symbols = np.flatnonzero(present)
    smallest: np.dtype[np.unsignedinteger] = np.min_scalar_type(max(0, len(symbols) - 1))
    ranks: Tokens = np.zeros(_UNICODE, dtype=smallest)
    ranks[symbols] = np.arange(len(symbols))
    tokens: Tokens = np.empty(len(codes), dtype=smallest)
    for piece in pieces:
        tokens[piece] = ranks[codes[piece]]
    return tokens, Vocabulary("".join(map(chr, symbols.tolist())))
