"""The published results of this project, as a plugin: each TOML file is an entry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.contract import Published, hookimpl


@hookimpl
def harness_published() -> Sequence[Published]:
    """Offer every entry of this folder."""
    return [Published(path.stem, path) for path in sorted(Path(__file__).parent.glob("*.toml"))]
