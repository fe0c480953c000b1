"""The gallery as Markdown: every chart of the catalogue with its picture and its meaning."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import make_gallery

STORE = "HARNESS_DOCS_STORE"  # names the store from which the build makes all pictures
COMMITTED, MADE = "pictures", "_gallery"  # folders below docs
STATIC = re.compile(r"<!-- gallery -->\n.*?<!-- end of gallery -->\n", re.DOTALL)


def with_gallery(page: str) -> str:
    """Return the page with a section per chart instead of the committed pictures, given altair."""
    if find_spec("altair") is None:
        return page
    return STATIC.sub(lambda _: "\n".join(_sections()), page)


def _sections() -> Iterator[str]:
    folder = _folder()
    for name, chart in _catalogue().items():
        picture = f"{folder}/{name}.png"
        yield f"## {chart.title}\n"
        if (make_gallery.DOCS / picture).exists():
            yield f"![{chart.title}]({picture})\n"
        yield f"{chart.shows}\n\n*How it was measured.* {chart.measured}\n"
        yield f"```bash\nharness report STORE -f png --chart {name} -o {name}.png\n```\n"


def _catalogue() -> dict[str, Any]:
    from harness_results.charts.catalogue import CHARTS

    return dict(CHARTS)


@cache
def _folder() -> str:
    """Return the folder of the pictures, made first where a store is given."""
    if store := os.environ.get(STORE):
        make_gallery.pictures(str(Path(store).absolute()), make_gallery.DOCS / MADE, _catalogue())
        return MADE
    return COMMITTED
