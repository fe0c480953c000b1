"""The facts that a record depends on, besides its trial: versions, code, machine, settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

CODE = "code of "  # begins the name of a fact whose value is a digest


@dataclass(frozen=True)
class Identity:
    """The facts behind one record; launches with equal facts are launches of the same thing."""

    facts: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 of the facts."""
        canonical = json.dumps(dict(self.facts), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return in words what differs: ``numpy 2.0 -> 2.1, code of harness_numpy changed``."""
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    return ", ".join(_difference(name, before.get(name), now.get(name)) for name in names)


def _difference(name: str, before: str | None, now: str | None) -> str:
    if name.startswith(CODE) and before and now:
        return f"{name} changed"
    return f"{name} {before or 'none'} -> {now or 'none'}"
