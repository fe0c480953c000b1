"""Charts as files: PNG and SVG by vl-convert, from the command line, without a browser."""

import re
import struct
import sys
import zlib
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from chart_records import HOSTILE, make, sweep
from harness.cli.main import cli
from harness.contract import UnavailableError
from harness_results.charts import all_charts, chart_of
from harness_results.charts.picture import SCALE, picture
from harness_results.store.store import Store

pytest.importorskip("altair")
pytest.importorskip("vl_convert")
pytestmark = pytest.mark.slow

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter(f"{SVG}text")]


def drawn(name, records):
    return picture(chart_of(records, name), "svg").decode()


def size(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def pixels(png):
    offset, packed = 8, b""
    while offset < len(png):
        (length,) = struct.unpack(">I", png[offset : offset + 4])
        kind, content = png[offset + 4 : offset + 8], png[offset + 8 : offset + 8 + length]
        assert struct.unpack(">I", png[offset + 8 + length : offset + 12 + length]) == (
            zlib.crc32(kind + content),
        )
        packed += content if kind == b"IDAT" else b""
        offset += 12 + length
    assert kind == b"IEND"
    return zlib.decompress(packed)


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "store.sqlite"
    with Store.open(path) as store:
        run = store.begin_run("run")
        for record in sweep():
            store.add(record, run)
    return str(path)


def report(*arguments):
    return CliRunner().invoke(
        cli, ["report", *map(str, arguments)], catch_exceptions=True, standalone_mode=False
    )


@pytest.mark.parametrize("name", ["loss-curves", "gradient-norm"])
def test_the_first_of_thousands_of_steps_is_a_plain_zero(name):
    shown = set(texts(drawn(name, [make(steps=2000)])))
    assert "0k" not in shown
    assert {"0", "1k", "2k"} <= shown


@pytest.mark.parametrize("name", list(all_charts()))
def test_a_chart_is_an_svg_with_its_words(name):
    svg = picture(chart_of(sweep(), name), "svg")
    shown = texts(svg)
    assert all_charts()[name].title in shown
    assert any(text.startswith("adding") for text in shown)  # a panel
    words = {word for text in shown for word in text.split()}
    assert {"jax:scan"} <= words or {"lstm", "rnn"} <= words  # the legend, or rows


def test_losses_that_are_close_have_ticks_that_differ_and_no_mark_covers_another():
    close = {"loss_baseline": 2.01, "loss_floor": None}
    lstm = make(loss_validation=2.003, solved=True, **close)
    rnn = make(cell="rnn", loss_validation=2.006, solved=False, **close)
    svg = drawn("loss", [lstm, rnn])
    labels = re.findall(r"<text[^>]*>([\d.]+)</text>", svg)
    losses = [float(label) for label in labels if float(label) < 20]  # the others are lengths
    assert max(losses) > 1.05 * min(losses)  # so that half a per cent looks small
    assert len(labels) == len(set(labels))
    assert "✓" not in texts(svg)
    points = re.findall(r'<path[^>]*aria-roledescription="point"[^>]*>', svg)
    assert sorted(bool(re.search(' fill="#', point)) for point in points) == [
        False,
        True,
    ]  # hollow, and solved


def test_words_stand_below_all_points_of_their_panel():
    svg = drawn(
        "loss",
        [make(loss_validation=loss, length=n) for n, loss in ((10, 0.1), (20, 1e-3), (40, 1e-4))],
    )
    points = re.findall(r'translate\([\d.]+,([\d.]+)\)" d="M', svg)
    (words,) = re.findall(r'translate\(5,([\d.]+)\)"[^>]*>floor: 0', svg)
    assert max(map(float, points)) < float(words) - 10


def test_a_png_is_large_enough_to_print():
    chart = chart_of(sweep(), "loss")
    width, height = size(picture(chart, "png"))
    assert width > 1500
    small = size(picture(chart, "png", scale=1))
    assert small == (pytest.approx(width / SCALE, abs=2), pytest.approx(height / SCALE, abs=2))


def test_packing_changes_no_pixel():
    import vl_convert

    chart = chart_of(sweep(), "loss")
    loose, packed = (
        vl_convert.vegalite_to_png(chart.to_dict(), scale=1),
        picture(chart, "png", scale=1),
    )
    assert len(packed) < len(loose)
    assert pixels(packed) == pixels(loose)


def test_hostile_words_stay_words():
    records = [
        make("jax:scan", trial={"task_options": {"note": text}}) for text in (HOSTILE, "plain")
    ]
    svg = picture(chart_of(records, "throughput"), "svg")
    assert not [
        node.tag
        for node in ET.fromstring(svg).iter()
        if node.tag in (f"{SVG}script", f"{SVG}image")
    ]
    assert any("<img src=x onerror=alert(1)>" in text for text in texts(svg))


def test_without_vl_convert_the_fix_is_named(monkeypatch):
    chart = chart_of(sweep(), "memory")
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UnavailableError, match=r'pip install "rnn-harness\[report\]"'):
        picture(chart, "png")


@pytest.mark.slow
def test_the_command_line_writes_a_picture(store, tmp_path):
    for form, start in (("png", b"\x89PNG"), ("svg", b"<svg")):
        file = tmp_path / f"flow.{form}"
        result = report(store, "-f", form, "--chart", "gradient-flow", "-o", file)
        assert result.exception is None, result.output
        assert file.read_bytes().startswith(start)


def test_the_command_line_writes_a_picture_into_a_pipe(store):
    result = report(store, "-f", "svg", "--chart", "memory")
    assert result.stdout_bytes.startswith(b"<svg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-f", "png"], "name it with --chart: loss, loss-curves"),
        (["--chart", "loss"], "choose --format png or svg"),
        (["-f", "png", "--chart", "los"], "Did you mean loss"),
        (["-f", "png", "--chart", "loss", "--relative", "numpy:loop"], "leave one of them out"),
    ],
)
def test_options_that_do_not_go_together_are_told_before_anything_is_read(
    arguments, message, tmp_path
):
    result = report(tmp_path / "missing.sqlite", *arguments)
    assert message in str(getattr(result.exception, "message", result.exception))


def test_a_terminal_gets_no_picture(store, monkeypatch):
    from harness.cli.output import pictures

    monkeypatch.setattr(pictures, "is_terminal", lambda: True)
    result = report(store, "-f", "png", "--chart", "loss")
    assert "--output loss.png" in str(result.exception)


def test_a_chart_without_data_writes_nothing(tmp_path):
    path, file = tmp_path / "store.sqlite", tmp_path / "x.png"
    with Store.open(path) as store:
        store.add(make("numpy:loop"), store.begin_run("run"))
    result = report(path, "-f", "png", "--chart", "compiling", "-o", file)
    assert "no trial ended ok with an engine that compiles" in str(result.exception)
    assert not file.exists()
