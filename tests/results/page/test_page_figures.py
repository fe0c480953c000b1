"""The charts of a page: a panel compares something, and the panels of a task share a range."""

import pytest

from chart_records import make

pytest.importorskip("altair", reason="altair is not installed: pip install 'rnn-harness[report]'")

AGAINST_LENGTH = {"loss", "throughput", "step-time", "gradient-horizon", "memory", "parity"}


def drawn(records):
    from harness_results.page.figures import figures

    content = figures(records)
    return {figure["name"]: figure for figure in content.drawn}, dict(content.missing)


def test_a_single_point_is_no_panel():
    both, one = [make(length=10), make(length=20)], make(cell="rnn", task="copy", length=10)
    names, missing = drawn([*both, one])
    assert set(names) >= AGAINST_LENGTH
    for name in AGAINST_LENGTH:
        assert not any("copy" in panel for panel in names[name]["columns"]["panel"]), name
    assert any("copy" in panel for panel in names["loss-curves"]["columns"]["panel"])
    names, missing = drawn([one])
    assert not AGAINST_LENGTH & set(names)
    assert missing["Throughput against T"] == "a single point: see the tables"
    assert missing["Compiling, and when it has paid"].startswith("no trial ended ok with an engine")


def test_charts_of_one_or_two_panels_come_first_in_pairs():
    records = [make(cell=cell, length=n) for cell in ("rnn", "lstm", "gru") for n in (10, 20, 40)]
    names, _ = drawn(records)
    halves = [figure["half"] for figure in names.values() if not figure["folded"]]
    assert halves == [True, True, False, False, False]
    assert [name for name, figure in names.items() if figure["half"]][:2] == [
        "loss",
        "gradient-horizon",
    ]


def test_trials_of_a_task_share_a_range_unless_they_did_not_end_well():
    records = [make(length=10), make(length=20), make(cell="rnn", length=20, status="diverged")]
    names, _ = drawn(records)
    columns = names["loss-curves"]["columns"]
    scales = dict(zip(columns["cell"], columns["scale"], strict=True))
    assert scales["lstm"] == scales[None] == "adding"
    assert scales["rnn"] != "adding"
    spec = names["loss-curves"]["spec"]
    assert [step["groupby"] for step in spec["transform"] if "joinaggregate" in step] == [["scale"]]
    assert not any({"filter", "window"} & step.keys() for step in spec["transform"])
