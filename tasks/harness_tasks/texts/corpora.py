"""The sources of text: Python's own, the grammar, a named download or a file. All give bytes.

``locate`` is cheap and checks a name; ``Source.read`` does the work.
"""

from __future__ import annotations

import platform
import re
import sysconfig
import textwrap
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.contract import CorpusError, UnknownNameError, expanded_path
from harness.contract.errors import with_fix
from harness_tasks.texts import grammar
from harness_tasks.texts.downloads import DOWNLOADS, Download, check_available, fetch, unzip

GRAMMAR_CHARACTERS = 500_000  # of the grammar's endless text, unless `limit` is set

# Modules of CPython since 3.11: about 1 MB. The order is fixed, so that the last tenth is always
# the same modules.
_MODULES = """
textwrap heapq copy bisect random statistics fractions calendar csv contextlib functools shutil
tempfile threading queue sched selectors socket subprocess traceback warnings weakref optparse cmd
pprint tokenize configparser argparse difflib
"""
STDLIB_MODULES = tuple(_MODULES.split())

_LEAST_PROSE = 0.9  # of the characters of a paragraph: letters and blanks
_IN_ASCII = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"}
)


class Source(ABC):
    """One source of text."""

    name: str

    @abstractmethod
    def read(self, seed: np.random.SeedSequence, limit: int | None) -> bytes | Path:
        """Return the text as bytes of UTF-8, or the path of a file that holds them."""

    def stored(self) -> bytes | Path | None:
        """Return what ``read`` returns, if it is here and the same for every seed and limit."""
        return None

    def facts(self) -> dict[str, Any]:
        """Return further facts about this source for the record."""
        return {}


@dataclass(frozen=True)
class Library(Source):
    """The source code of some modules of Python's standard library; it differs between versions."""

    name: str = "stdlib"

    def read(self, seed: np.random.SeedSequence, limit: int | None) -> bytes:
        """Return the modules' text in ASCII, with "?" for other characters: a small vocabulary."""
        return self.stored()

    def stored(self) -> bytes:
        """Return the text."""
        folder = Path(sysconfig.get_path("stdlib"))
        try:
            texts = [(folder / f"{name}.py").read_text(encoding="utf-8") for name in STDLIB_MODULES]
        except OSError as error:
            fix = "set the option corpus to a text file of yours, or to grammar"
            raise CorpusError(
                f"corpus 'stdlib': this Python has no source of its library ({error}); {fix}"
            ) from error
        return "\n".join(texts).encode("ascii", errors="replace")

    def facts(self) -> dict[str, Any]:
        """Return the version of Python."""
        return {"python": platform.python_version()}


@dataclass(frozen=True)
class Help(Source):
    """The English prose of the topics of Python's ``help()``; it differs between versions.

    Tables, grammars, examples and repeated paragraphs are left out.
    """

    name: str = "pydoc"

    def read(self, seed: np.random.SeedSequence, limit: int | None) -> bytes:
        """Return the paragraphs of the topics in alphabetical order, in ASCII."""
        return self.stored()

    def stored(self) -> bytes:
        """Return the text."""
        try:
            from pydoc_data.topics import topics
        except ImportError as error:
            fix = "set the option corpus to stdlib, to grammar, or to a text file of yours"
            problem = f"corpus 'pydoc': this Python has no texts of help() ({error})"
            raise CorpusError(with_fix(problem, fix)) from error
        return _prose(tuple(topics[name] for name in sorted(topics)))

    def facts(self) -> dict[str, Any]:
        """Return the version of Python."""
        return {"python": platform.python_version()}


@cache  # a plan reads it for each length
def _prose(texts: tuple[str, ...]) -> bytes:
    paragraphs: dict[str, None] = {}
    for text in texts:
        ascii_text = text.translate(_IN_ASCII).encode("ascii", errors="ignore").decode()
        for paragraph in re.split(r"\n\s*\n", ascii_text):
            if _is_prose(paragraph):
                paragraphs[textwrap.dedent(paragraph).strip()] = None
    return "\n\n".join(paragraphs).encode()


def _is_prose(paragraph: str) -> bool:
    plain = sum(character.isalpha() or character.isspace() for character in paragraph)
    return bool(paragraph.strip()) and plain >= _LEAST_PROSE * len(paragraph)


@dataclass(frozen=True)
class Grammar(Source):
    """Text drawn from ``harness_tasks.texts.grammar`` with the data seed."""

    name: str = "grammar"

    def read(self, seed: np.random.SeedSequence, limit: int | None) -> bytes:
        """Return the first ``limit`` characters (500,000 if None)."""
        return grammar.generate(np.random.default_rng(seed), limit or GRAMMAR_CHARACTERS).encode()

    def facts(self) -> dict[str, Any]:
        """Return the exact entropy rate."""
        return {"entropy_rate": grammar.entropy_rate()}


@dataclass(frozen=True)
class Named(Source):
    """A named download."""

    download: Download

    @property
    def name(self) -> str:  # type: ignore[override]
        """The corpus's name."""
        return self.download.name

    def read(self, seed: np.random.SeedSequence, limit: int | None) -> bytes | Path:
        """Download, check and unpack the corpus."""
        path = fetch(self.download)
        return unzip(self.download, path) if self.download.member else path


@dataclass(frozen=True)
class File(Source):
    """A file by path."""

    path: Path

    @property
    def name(self) -> str:  # type: ignore[override]
        """The path."""
        return str(self.path)

    def read(self, seed: np.random.SeedSequence, limit: int | None) -> Path:
        """Return the path."""
        return self.path

    def stored(self) -> Path:
        """Return the path."""
        return self.path


def locate(corpus: str) -> Source:
    """Return the source that ``corpus`` names: a built-in name, a download, or a file.

    Raises:
        UnknownNameError: there is no such name and no such file.
        CorpusError: the path does not exist, or is not a readable file.
        UnavailableError: a download that is not in the cache and not possible here.
    """
    if corpus in DOWNLOADS:
        check_available(DOWNLOADS[corpus])
        return Named(DOWNLOADS[corpus])
    built_in: dict[str, Source] = {source.name: source for source in (Help(), Library(), Grammar())}
    return built_in.get(corpus) or _file(corpus, [*built_in, *DOWNLOADS])


def _file(corpus: str, names: list[str]) -> File:
    path = expanded_path(corpus)
    try:
        if path.is_file():
            path.open("rb").close()
            return File(path)
        exists = path.exists()
    except OSError as error:
        raise CorpusError(f"corpus {corpus!r} cannot be read: {error}") from error
    if exists:
        kind = "a directory" if path.is_dir() else "not a regular file"
        raise CorpusError(f"corpus {corpus!r} is {kind}; give the path of one text file")
    if path.name == corpus and not path.suffix:
        raise UnknownNameError("corpus", corpus, names)
    raise CorpusError(f"corpus {corpus!r}: no such file (looked for {path.absolute()})")
