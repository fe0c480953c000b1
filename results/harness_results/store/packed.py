"""The curves of a stored record, decoded when they are read: most reports show few of them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping
from os import SEEK_END
from tempfile import SpooledTemporaryFile
from typing import Any

from harness.contract.errors import StoreError, with_fix
from harness.contract.records.readable import readable_curve
from harness_results.store.database.base import CHECK
from harness_results.store.database.decoding import DamagedError, from_packed

MOST_BYTES = 2**23  # in memory; more are in a temporary file
_SIZE = 8  # bytes that hold the size of a piece


class Spool:
    """Pieces of bytes, in a temporary file once they are many. Threads may share it.

    Raises:
        StoreError: the temporary file cannot be written or read.
    """

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile[bytes](MOST_BYTES)
        self._lock = threading.Lock()
        weakref.finalize(self, self._file.close)

    def put(self, piece: bytes) -> int:
        """Keep a piece; return where it is."""
        try:
            with self._lock:
                start = self._file.seek(0, SEEK_END)
                self._file.write(len(piece).to_bytes(_SIZE) + piece)
        except OSError as error:
            raise _unusable(error) from error
        return start

    def get(self, start: int) -> bytes:
        """Return the piece that is there."""
        try:
            with self._lock:
                self._file.seek(start)
                return self._file.read(int.from_bytes(self._file.read(_SIZE)))
        except OSError as error:
            raise _unusable(error) from error


def _unusable(error: OSError) -> StoreError:
    problem = f"a temporary file for the curves of a store cannot be used: {error.strerror}"
    return StoreError(with_fix(problem, "set TMPDIR to a folder with more space"))


class PackedCurves(Mapping[str, Any]):
    """The curves of one record by name. Each access decodes the curve anew and keeps nothing.

    Args:
        packed: name -> compressed JSON. Anything but bytes is damage.
        spool: where they are kept.
    """

    def __init__(self, packed: Mapping[str, bytes], spool: Spool) -> None:
        self._starts = {
            name: spool.put(content) if isinstance(content, bytes | memoryview) else None
            for name, content in packed.items()
        }
        self._spool = spool

    def __getitem__(self, name: str) -> Any:
        """Return a curve.

        Raises:
            StoreError: it is damaged.
        """
        start = self._starts[name]
        try:
            return readable_curve(from_packed(None if start is None else self._spool.get(start)))
        except DamagedError as error:
            raise StoreError(
                f"the store is damaged: the curve {name!r} of a record cannot be read ({error}). "
                f"{CHECK}."
            ) from error

    def __contains__(self, name: object) -> bool:
        return name in self._starts

    def __iter__(self) -> Iterator[str]:
        return iter(self._starts)

    def __len__(self) -> int:
        return len(self._starts)
