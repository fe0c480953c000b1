"""The page as text, without a browser: what it needs, what it holds and how large it is."""

import sys

import pytest

from chart_records import make
from harness.contract import UnavailableError

CURE = r'pip install "rnn-harness\[report\]"'


@pytest.mark.parametrize("missing", ["jinja2", "altair", "vl_convert"])
def test_a_library_that_is_not_installed_is_named_with_its_cure(monkeypatch, missing):
    for name in [name for name in sys.modules if name.startswith(("harness_results.page", "harness_results.charts"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    from harness_results.page.build import page

    with pytest.raises(UnavailableError, match=rf"needs? {missing}, which is not installed. Install it: {CURE}"):
        page([make()], "s.sqlite")
