"""The docs site: Sphinx over the Markdown pages of this folder. It needs no network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

from site_pages import filled

from harness import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "harness"
author = "the authors of harness"
release = version = __version__
html_title = f"harness {__version__}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
templates_path: list[str] = []
nitpicky = False

myst_heading_anchors = (
    3  # the anchors that the repository's host gives, so that one link serves both
)
myst_enable_extensions = ["colon_fence"]
suppress_warnings = [
    "toc.empty_glob",  # pages that another version of the package may lack
    "myst.header",  # a command's reference has deeper headings than its page
]

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "show-inheritance": True}
python_maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True
copybutton_selector = "div.highlight-bash pre, div.highlight-toml pre, div.highlight-python pre"


def setup(app: Sphinx) -> None:
    """Fill the pages whose text comes from elsewhere."""
    app.connect("source-read", filled.fill)
