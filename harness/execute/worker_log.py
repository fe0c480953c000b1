"""A worker's output with a limit: its beginning and its end."""

from __future__ import annotations

from dataclasses import dataclass, field

TAIL_BYTES = 64 * 1024


@dataclass
class CappedLog:
    """Keeps at most ``limit_bytes``: the head, and the tail, which explains a crash."""

    limit_bytes: int
    _head: bytearray = field(default_factory=bytearray)
    _tail: bytearray = field(default_factory=bytearray)
    _left_out_bytes: int = 0

    def add(self, chunk: bytes) -> None:
        """Append output."""
        room = max(0, self.limit_bytes - TAIL_BYTES - len(self._head))
        self._head += chunk[:room]
        self._tail += chunk[room:]
        excess = len(self._tail) - TAIL_BYTES
        if excess > 0:
            del self._tail[:excess]
            self._left_out_bytes += excess

    def text(self) -> str:
        """Return the log, with a note if bytes were left out."""
        note = f"\n... truncated ({self._left_out_bytes} bytes)\n" if self._left_out_bytes else ""
        return _decode(self._head) + note + _decode(self._tail)

    def tail(self, lines: int = 60) -> str:
        """Return the last lines."""
        return "\n".join(self.text()[-TAIL_BYTES // 4 :].splitlines()[-lines:])


def _decode(content: bytearray) -> str:
    return content.decode("utf-8", errors="replace")
