"""From raw bytes to token ids: vocabulary, digest, and what is wrong with a text, with its byte offset and the cure.

``characters``: strict UTF-8; a byte order mark at the start is not text and is dropped; everything else, CR LF too, is
kept as it is. ``bytes``: the file exactly, memory-mapped, of any size.
"""

from __future__ import annotations

import codecs
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.contract import CorpusError, Vocabulary

LARGEST_CHARACTER_FILE_BYTES = 256 * 1024 * 1024  # decoding takes some eight times as much memory
BYTES_CURE = "set the option vocabulary to bytes"
TEXT_CURE = "give a text of at least some thousand characters"
BYTES = Vocabulary(None)
_UNICODE = 0x110000
_CHUNK = 1 << 22

Tokens = NDArray[np.integer]  # (n,)


@dataclass(frozen=True, eq=False)
class Text:
    """A text as numbers: ``tokens`` (n,) unsigned, ``digest`` the SHA-256 of the source's bytes, ``distinct`` of V."""

    tokens: Tokens
    vocabulary: Vocabulary
    digest: str
    distinct: int


def read_text(name: str, raw: bytes | Path, *, as_bytes: bool, limit: int | None) -> Text:
    """Return the text of a source, cut to its first ``limit`` characters (or bytes).

    Raises:
        CorpusError: empty, one distinct character, not UTF-8, with NUL, or too large to be decoded.
    """
    try:
        content = _map(raw)
        digest = hashlib.sha256(content.data).hexdigest()
    except OSError as error:
        raise CorpusError(f"corpus {name!r} cannot be read: {error}") from error
    tokens, vocabulary = (content[:limit], BYTES) if as_bytes else _characters(_decode(name, content, limit))
    if not len(tokens):
        raise CorpusError(f"corpus {name!r} is empty; {TEXT_CURE}")
    distinct = _distinct(tokens) if as_bytes else vocabulary.size
    if distinct < 2:  # noqa: PLR2004
        only = vocabulary.decode(np.asarray(tokens[:1], dtype=np.int32))
        raise CorpusError(f"corpus {name!r} holds only one distinct character, {only!r}: there is nothing to predict")
    return Text(tokens, vocabulary, digest, distinct)


def _map(raw: bytes | Path) -> NDArray[np.uint8]:
    if isinstance(raw, Path) and raw.stat().st_size:
        return np.memmap(raw, dtype=np.uint8, mode="r")
    return np.frombuffer(b"" if isinstance(raw, Path) else raw, dtype=np.uint8)


def _distinct(tokens: Tokens) -> int:
    seen = sum(np.bincount(tokens[start : start + _CHUNK], minlength=256) for start in range(0, len(tokens), _CHUNK))
    return int(np.count_nonzero(seen))


def _decode(name: str, content: NDArray[np.uint8], limit: int | None) -> str:
    """Return the characters; only as many bytes are read as ``limit`` characters can take."""
    mark = len(codecs.BOM_UTF8) if content[:3].tobytes() == codecs.BOM_UTF8 else 0
    stop = len(content) if limit is None else min(len(content), mark + 4 * limit)
    if stop > LARGEST_CHARACTER_FILE_BYTES:
        largest = f"{LARGEST_CHARACTER_FILE_BYTES:,}"
        raise CorpusError(
            f"corpus {name!r}: {stop:,} bytes are more than {largest} to decode; {BYTES_CURE}, or a limit"
        )
    raw = content[mark:stop].tobytes()
    try:
        text = codecs.utf_8_decode(raw, "strict", stop == len(content))[0][:limit]
    except UnicodeDecodeError as error:
        raise CorpusError(_not_utf8(name, raw, error.start, mark)) from error
    if (at := text.find("\0")) >= 0:
        offset = mark + len(text[:at].encode())
        raise CorpusError(f"corpus {name!r} is not a text: a NUL at byte {offset:,}; {BYTES_CURE}")
    return text


def _not_utf8(name: str, raw: bytes, start: int, mark: int) -> str:
    utf16 = raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    convert = f"convert it (iconv -f {'UTF-16' if utf16 else 'ITS-ENCODING'} -t UTF-8), or {BYTES_CURE}"
    return f"corpus {name!r} is not UTF-8: byte 0x{raw[start]:02x} at byte {mark + start:,}; {convert}"


def _characters(text: str) -> tuple[Tokens, Vocabulary]:
    """Return the tokens over the distinct characters, in sorted order."""
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
