import io
import json

import pytest
from rich.console import Console

from builders import CLASSES_TEXT, bracket_counter, trial_of
from harness.cli.main import main
from harness.cli.output.units import print_units
from harness.hidden_units.units import study_units
from harness.measure.checkpoint import save
from harness.plugins import load_plugins


@pytest.fixture
def arguments(tmp_path):
    (tmp_path / "text.txt").write_text(CLASSES_TEXT)
    return ["units", str(bracket_counter(tmp_path)), "--text", str(tmp_path / "text.txt")]


@pytest.fixture
def view(tmp_path):
    study = study_units(load_plugins(), bracket_counter(tmp_path), text=CLASSES_TEXT)
    return study.view("brackets", length=90)


def run(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code, *capsys.readouterr()


def test_the_table_names_the_best_units_next_to_the_current_character(arguments, capsys):
    status, out, _ = run(arguments, capsys)
    assert status == 0
    (line,) = [line for line in out.splitlines() if line.startswith("brackets") and "h0.1" in line]
    assert line.split()[1:4] == ["h0.1", "│", "1.00"]
    assert f"3 units over {len(CLASSES_TEXT)} characters of the text given." in out
    assert "chosen on the first half of the text" in out


def test_without_colours_digits_below_the_text_show_the_values(arguments, capsys):
    _, out, _ = run([*arguments, "--class", "brackets"], capsys)
    lines = out.splitlines()
    row = lines.index('Call f(a, b) or "g" with [x].↵')
    assert lines[row + 1] == "000000999990000000000000099000"
    assert lines[row - 1].startswith("digits: 0 low 0 to 9 high 1")


def test_on_a_terminal_colours_show_the_values(view):
    file = io.StringIO()
    print_units(
        view,
        Console(file=file, force_terminal=True, color_system="truecolor", width=80, no_color=False),
    )
    out = file.getvalue()
    assert "digits:" not in out
    assert "48;2;245;150;50m(" in out


def test_a_terminal_without_colours_gets_digits(view):
    file = io.StringIO()
    print_units(view, Console(file=file, force_terminal=True, no_color=True, width=80))
    assert "digits: 0 low 0 to 9 high 1" in file.getvalue()


def test_long_lines_wrap_with_their_digits(view):
    file = io.StringIO()
    print_units(view, Console(file=file, width=20))
    lines = file.getvalue().splitlines()
    row = lines.index('Call f(a, b) or "g" ')
    assert lines[row + 1 : row + 4] == ["00000099999000000000", "with [x].↵", "0000099000"]


def test_one_unit_is_shown_for_every_class_and_colours_the_text(arguments, capsys):
    _, out, _ = run([*arguments, "--unit", "h0.2", "-f", "json"], capsys)
    content = json.loads(out)
    assert {unit["unit"] for each in content["classes"] for unit in each["units"]} == {"h0.2"}
    assert [each["name"] for each in content["classes"]] == [
        "quotes",
        "brackets",
        "line-end",
        "indentation",
    ]
    excerpt = content["excerpt"]
    assert excerpt["unit"] == "h0.2"
    assert len(excerpt["text"]) == len(excerpt["values"])
    values = dict(zip(excerpt["text"], excerpt["values"], strict=True))
    assert (values["("], values["a"]) == (0, 1)


def test_a_class_without_characters_is_said(arguments, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("do not (stop) a (b) " * 20)
    _, out, _ = run(arguments, capsys)
    assert "quotes: no such character in the first half." in out
    assert "unit h0.1" in out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--unit", "c0.1"], "unknown unit 'c0.1'"),
        (["--characters", "5"], "5 is not in the range"),
        (["--text", "nowhere.txt"], "does not exist"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments, capsys, more, message):
    status, _, err = run([*arguments, *more], capsys)
    assert status == 2
    assert message in err


def test_a_file_that_is_not_text_is_refused(arguments, tmp_path, capsys):
    (tmp_path / "text.txt").write_bytes(b"\xff" * 200)
    status, _, err = run(arguments, capsys)
    assert status == 2
    assert "give a text file in UTF-8" in err


def test_a_trial_of_another_task_is_refused(tmp_path, capsys):
    save(tmp_path / "copy.safetensors", {}, trial_of(), None)
    status, _, err = run(["units", str(tmp_path / "copy.safetensors")], capsys)
    assert status == 2
    assert "which is not text" in err
