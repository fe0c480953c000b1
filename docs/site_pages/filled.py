"""Fills pages with text from elsewhere: other Markdown files, the command line, the gallery.

On the repository's host such a page is a few lines that say where to look.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from site_pages.columns import tables
from site_pages.commands import reference
from site_pages.pictures import with_gallery

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent.parent
ROOT = DOCS.parent

OUTSIDE = {
    "measured": "results/measured/README.md",
    "work-items": "results/measured/work-items.md",
    "benchmarks": "benchmarks/README.md",
    "contributing": "CONTRIBUTING.md",
    "changes": "CHANGELOG.md",
}
COMMANDS = "<!-- commands -->"
COLUMNS = "<!-- columns -->"
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)(?=[)#])")


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace a page by the file that it names, and its marks by what they name."""
    path = DOCS / f"{docname}.md"
    if docname in OUTSIDE:
        path = ROOT / OUTSIDE[docname]
        app.env.note_dependency(str(path))
        source[0] = path.read_text(encoding="utf-8")
    source[0] = linked(source[0], path.parent, (DOCS / docname).parent)
    if docname == "gallery":
        source[0] = with_gallery(source[0])
    if docname == "commands":
        source[0] = source[0].replace(COMMANDS, reference())
    if docname == "measuring":
        source[0] = source[0].replace(COLUMNS, tables())


def linked(text: str, written_in: Path, shown_in: Path) -> str:
    """Return the text with relative links rewritten for another folder and the site's pages."""
    return _LINK.sub(lambda match: _target(match[1], written_in, shown_in), text)


def _target(link: str, written_in: Path, shown_in: Path) -> str:
    path = (written_in / link).resolve()
    pages = {ROOT / name: DOCS / f"{docname}.md" for docname, name in OUTSIDE.items()}
    path = path / "index.md" if path.is_dir() else path
    return Path(os.path.relpath(pages.get(path, path), shown_in)).as_posix()
