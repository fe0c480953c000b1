"""Measure recurrent networks: loss, throughput and gradient norm across sequence lengths.

``harness.run(...)`` is the Python entrance; ``harness.contract`` holds what plugins implement.
Nothing heavy is imported here.
"""

from __future__ import annotations

from typing import Any

from harness.version import __version__

__all__ = ["__version__", "probe", "run", "sample", "units"]


def __getattr__(name: str) -> Any:
    if name in {"probe", "run", "sample", "units"}:
        from harness import api

        return getattr(api, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
