"""Make the gallery's pictures with the harness itself.

Usage: ``python docs/make_gallery.py [--store STORE] [CHART ...]``

Without a store, the plan ``gallery.toml`` is measured first, which takes some minutes and needs
PyTorch and JAX; with ``--parts`` the store given is one of that plan. Curves are drawn of a part of
it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

DOCS = Path(__file__).resolve().parent
NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})
WHOLE = ("loss", "throughput", "step-time", "compiling", "gradient-horizon", "memory", "parity")
PART = {  # curves are large: two panels of them
    "loss-curves": ("-t", "adding", "-T", "10,80"),
    "gradient-norm": ("-t", "adding", "-c", "lstm", "-T", "10,80"),
}
QUOTED = (*WHOLE, *PART)  # committed; the one of gradient flow is that of charts.md


def main() -> None:
    """Make the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "charts", nargs="*", default=QUOTED, metavar="CHART", help=f"[default: {' '.join(QUOTED)}]"
    )
    parser.add_argument(
        "--store", help="take the records of this store instead of measuring gallery.toml"
    )
    parser.add_argument(
        "--parts",
        action="store_true",
        help="the store is one of gallery.toml: a part of its curves",
    )
    parser.add_argument(
        "--folder", type=Path, default=DOCS / "pictures", help="where to [default: docs/pictures]"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        store = asked.store or str(Path(scratch) / "gallery.sqlite")
        if not asked.store:
            subprocess.run(
                [*_harness(), "run", str(DOCS / "gallery.toml"), "--store", store], check=True
            )
        part = PART if asked.parts or not asked.store else NOTHING
        drawn = pictures(store, asked.folder, asked.charts, part)
    sys.exit(0 if set(drawn) >= set(asked.charts) else 1)


def pictures(
    store: str, folder: Path, charts: Iterable[str], part: Mapping[str, Sequence[str]] = NOTHING
) -> list[str]:
    """Draw charts of a store as ``CHART.png``; return the names drawn, and report the others.

    Args:
        store: path or URL.
        folder: made where it is missing.
        charts: names.
        part: filters of ``harness report`` by chart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name in charts:
        asked = [
            "report",
            store,
            *part.get(name, ()),
            "-f",
            "png",
            "--chart",
            name,
            "-o",
            str(folder / f"{name}.png"),
        ]
        done = subprocess.run([*_harness(), *asked], capture_output=True, text=True, check=False)
        drawn += [name] * (done.returncode == 0)
        sys.stderr.write(
            "" if done.returncode == 0 else f"no picture of {name}: {done.stderr.strip()}\n"
        )
    return drawn


def _harness() -> list[str]:
    return [sys.executable, "-m", "harness"]


if __name__ == "__main__":
    main()
