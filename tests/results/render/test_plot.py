"""Curves as text: braille or ASCII, with axes, units and a log scale; no colour and no crash."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from harness.contract import Record, Trial
from harness_results.render.show import show_record
from harness_results.study.curves import drawings
from harness_results.text.plot import Plot

RAMP = Plot("loss; nats", "training step", [(n, float(n)) for n in range(101)])


def test_a_rising_line_in_ascii():
    title, *rows, axis, foot = RAMP.lines(31, 5, ascii_only=True)
    assert title == "loss; nats"
    assert [row[10] for row in rows] == ["┤", "│", "┤", "│", "┤"]
    assert [row[:9].strip() for row in rows] == ["100", "", "50.0", "", "0"]
    assert rows[0].endswith("***")
    assert rows[-1][11:14] == "***"
    assert axis == " " * 10 + "└" + "─" * 20
    assert foot.split() == ["0", "training", "step", "100"]


def test_a_rising_line_in_braille_has_finer_dots():
    rows = list(RAMP.lines(31, 5))[1:-2]
    dots = [character for row in rows for character in row if 0x2800 < ord(character) < 0x2900]
    assert len(dots) >= 20
    assert "*" not in "".join(rows)


def test_a_log_scale_makes_a_line_of_a_decay_and_leaves_zeros_out():
    points = [(n, 10.0**-n) for n in range(9)] + [(9, 0.0)]
    title, *rows, _, foot = Plot("flow", "lag", points, logarithmic=True).lines(
        31, 9, ascii_only=True
    )
    assert title == "flow (log)"
    assert [rows[0][:9].strip(), rows[4][:9].strip(), rows[8][:9].strip()] == [
        "1.00",
        "1.0e-04",
        "1.0e-08",
    ]
    assert all(any(character == "*" for character in row) for row in rows)
    assert foot.endswith("8")


def test_marks_stand_beside_the_curve():
    drawn = "\n".join(Plot("t", "x", [(0, 0.0), (9, 0.0)], marks=[(5, 1.0)]).lines(40, 5))
    assert drawn.count("o") == 1


@pytest.mark.parametrize(
    "points", [[], [(1, 2.0)], [(1, float("nan")), (2, 3.0)], [(1, 2.0), (1, 3.0)]]
)
def test_what_is_no_curve_is_not_drawn(points):
    assert list(Plot("t", "x", points).lines(40)) == []


@settings(max_examples=60, deadline=None)
@given(
    ys=st.lists(st.floats(), max_size=40),
    width=st.integers(1, 120),
    logarithmic=st.booleans(),
    ascii_only=st.booleans(),
)
def test_any_series_can_be_drawn_within_the_width(ys, width, logarithmic, ascii_only):
    plot = Plot(
        "t", "x", list(enumerate(ys)), marks=list(enumerate(ys))[::3], logarithmic=logarithmic
    )
    lines = list(plot.lines(width, 4, ascii_only=ascii_only))
    assert all(cell_len(line) <= max(width, 22) for line in lines)
    assert len(lines) in (0, 7)


def record(**curves) -> Record:
    trial = Trial(backend="numpy", variant="loop", task="copy", cell="lstm", length=20)
    flow = {"lags": [0, 1, 2], "median": [1.0, 0.1, 0.01], "decay": 0.1}
    evaluations = [{"step": 0, "loss_validation": 2.0}, {"step": 40, "loss_validation": 0.001}]
    defaults = {
        "loss": [2.0, 1.0] * 20,
        "evaluations": evaluations,
        "gradient_flow": {"final": flow, "initial": flow},
    }
    return Record(trial, "ok", curves=defaults | curves, details={"loss": "cross_entropy"})


def test_the_share_of_h_is_marked_beside_the_flow_of_the_whole_state():
    states = {"h": [1.0, 1e-30, 0.2], "c": [0.0, 0.5, 0.1]}
    flow = {"lags": [0, 1, 2], "median": [1.0, 0.5, 0.22], "decay": 0.5, "states": states}
    *_, drawn = drawings(record(gradient_flow={"final": flow}))
    assert drawn.title == "gradient flow, trained: ‖dL/d(h, c)‖, o: h alone, x 0.500 per step back"
    assert (drawn.curve, drawn.marks) == (
        [(0, 1.0), (1, 0.5), (2, 0.22)],
        [(0, 1.0)],
    )  # nothing below the whole


def test_loss_and_gradient_flow_are_drawn_with_their_units():
    loss, trained, untrained = drawings(record())
    assert (loss.title, loss.across) == (
        "loss on training data, o: validation; nats",
        "training step",
    )
    assert loss.logarithmic  # it falls from 2 to 0.001
    assert trained.logarithmic
    assert trained.title == "gradient flow, trained: ‖dL/dh‖, x 0.100 per step back"
    assert list(untrained.curve) == [(0, 1.0), (1, 0.1), (2, 0.01)]
    assert not next(drawings(record(evaluations=[]))).logarithmic


def printed(record: Record, encoding="utf-8", **options) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=file, width=80, **options).print(show_record(record))
    file.flush()
    return file.buffer.getvalue().decode(encoding)


def test_losses_on_other_data_are_not_drawn_together():
    losses = ((0, 5, 2.0), (40, 5, 0.5), (40, 20, 0.7))
    mixed = [
        {"step": step, "tokens_validation": tokens, "loss_validation": loss}
        for step, tokens, loss in losses
    ]
    loss, *_ = drawings(record(evaluations=mixed))
    assert loss.title == "loss on training data, o: sample of validation; nats"
    assert loss.marks == [(0, 2.0), (40, 0.5)]
    whole, *_ = drawings(record(evaluations=mixed[:2]))
    assert whole.title == "loss on training data, o: validation; nats"


def test_a_record_is_drawn_without_colours_where_it_is_piped_and_in_ascii_where_there_is_no_more():
    text = printed(record())
    assert "\x1b" not in text
    assert "gradient flow, untrained" in text
    assert any(0x2800 < ord(character) < 0x2900 for character in text)
    plain = printed(record(), "ascii")
    assert "*" in plain
    assert "+---" in plain


@pytest.mark.parametrize(
    "curves",
    [
        {"loss": None, "gradient_flow": None, "evaluations": None},
        {"loss": "text", "gradient_flow": [1], "evaluations": [3]},
        {
            "loss": [None, "x", 1.0],
            "gradient_flow": {"final": {"median": [1.0], "lags": [0, 1]}, "initial": 3},
        },
        {"evaluations": [{"step": None, "loss_validation": "x"}], "gradient_norm": ["x", None]},
    ],
)
def test_curves_of_another_version_do_no_harm(curves):
    assert "trial" in printed(record(**curves))
