"""The section of the page on hidden units, as text."""

import pytest

from builders import trial_of
from chart_records import make
from harness_results.page.build import page
from harness_results.page.units import NetworkUnits, Units

pytestmark = pytest.mark.slow
pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install 'rnn-harness[report]'")
pytest.importorskip("altair", reason="altair is not installed: pip install 'rnn-harness[report]'")
pytest.importorskip("vl_convert", reason="vl-convert is not installed")

ROWS = (("quotes", "h0.1", "0.95", "0.60", "+0.35", "high", "120", "9"),)


def network(**changes):
    settings = {
        "trial": trial_of(task="char"),
        "text": "3 units over 90 characters.",
        "rows": ROWS,
        "notes": (),
        "unit": "h0.1",
        "class_name": "quotes",
        "low": "0",
        "high": "1",
        "spans": ((0, "a <b> "), (9, '"c"')),
    }
    return NetworkUnits(**settings | changes)


def test_a_network_has_a_table_and_a_coloured_text():
    plain = network(spans=(), unit="", trial=trial_of(task="char", cell="gru"))
    text = page([make()], "s.sqlite", Units([network(), plain], ["rnn: no checkpoint"]))
    section = text.partition('<section id="units"')[2].partition("</section>")[0]
    for cell in ROWS[0]:
        assert f">{cell}</td>" in section
    assert '<span class="u0">a &lt;b&gt; </span><span class="u9">&#34;c&#34;</span>' in section
    assert section.count("<pre") == 1
    assert "Left out: rnn: no checkpoint." in section
    assert f"harness units {trial_of(task='char').trial_id}" in section


def test_without_a_network_there_is_no_section_and_no_link_to_it():
    text = page([make()], "s.sqlite", Units((), ["gru: no checkpoint"]))
    assert 'id="units"' not in text
    assert 'href="#units"' not in text
