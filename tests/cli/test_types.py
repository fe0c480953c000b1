import math
import re

import pytest
import rich_click as click
from click.testing import CliRunner

from harness.cli.options import types
from harness.cli.verbs.run import command
from harness.plan.kinds import Memory, Seconds

DURATION, SIZE = types.Quantity(Seconds()), types.Quantity(Memory())


def convert(kind, text):
    return kind.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("25,50,100", (25, 50, 100)),
        ("32:1024:x2", (32, 64, 128, 256, 512, 1024)),
        ("10:50:20", (10, 30, 50)),
        ("10:50:+20", (10, 30, 50)),
        ("5, 32:64:x2", (5, 32, 64)),
        ("32:64:X2", (32, 64)),
    ],
)
def test_lengths_read_lists_and_ranges(text, lengths):
    assert convert(types.Lengths(), text) == lengths


@pytest.mark.parametrize(
    "text", ["", "5,", "x", "10:5:x2", "0:8:x2", "1:8:x1", "1:8:0", "1:1000000000:1", "1.5"]
)
def test_lengths_refuse_what_is_no_length(text):
    with pytest.raises(click.BadParameter):
        convert(types.Lengths(), text)


def test_numbers_may_be_none_where_an_option_can_be_switched_off():
    assert convert(types.NUMBERS_OR_NONE, "1e-3,none") == (0.001, None)
    with pytest.raises(click.BadParameter, match="numbers"):
        convert(types.NUMBERS, "none")


def test_words_among_numbers_are_taken_in_any_case_and_named_in_the_error():
    assert convert(types.CHECKPOINTS, "off,AUTO,64") == ("off", "auto", 64)
    with pytest.raises(
        click.BadParameter, match="whole numbers, separated by commas, or off or auto"
    ):
        convert(types.CHECKPOINTS, "on")
    with pytest.raises(click.BadParameter, match="numbers, separated by commas, or none"):
        convert(types.NUMBERS_OR_NONE, "off")


def test_a_not_a_number_is_left_to_the_trial_to_refuse():
    assert math.isnan(convert(types.NUMBERS, "nan")[0])


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7200)])
def test_durations_are_seconds(text, seconds):
    assert convert(DURATION, text) == seconds


@pytest.mark.parametrize("text", ["0", "-1", "soon", "1d", "99999h"])
def test_durations_refuse_what_is_no_duration(text):
    with pytest.raises(click.BadParameter, match="duration"):
        convert(DURATION, text)


@pytest.mark.parametrize(
    ("text", "size"), [("16MiB", 2**24), ("500MB", 5 * 10**8), ("1.5GiB", 3 * 2**29)]
)
def test_amounts_of_memory_are_bytes(text, size):
    assert convert(SIZE, text) == size


@pytest.mark.parametrize(
    ("text", "reason"),
    [("0GB", "the least is 16MiB"), ("16MB", "the least"), ("2", "not an amount")],
)
def test_amounts_of_memory_refuse_what_no_launch_can_do_with(text, reason):
    with pytest.raises(click.BadParameter, match=reason):
        convert(SIZE, text)


def test_settings_are_json_where_they_can_be_and_text_elsewhere():
    settings = types.task_settings(
        [
            "task.copy.symbols=8",
            "task.copy.data=fixed",
            'task.char.prime="1"',
            "task.char.corpus=../a=b.txt",
        ]
    )
    assert settings == {
        "copy": {"symbols": 8, "data": "fixed"},
        "char": {"prime": "1", "corpus": "../a=b.txt"},
    }


@pytest.mark.parametrize(
    "text", ["task.copy", "copy.symbols=8", "task.copy.symbols", "task..x=1", "task.a.b.c.=1"]
)
def test_settings_refuse_another_form(text):
    with pytest.raises(click.BadParameter, match=r"task\.NAME\.OPTION=VALUE"):
        types.task_settings([text])


def test_help_shows_values_that_are_understood():
    told = CliRunner().invoke(command, ["--help"], env={"COLUMNS": "200"}).output
    for option, kind in {"--timeout": DURATION, "--memory-limit": SIZE}.items():
        example = re.search(rf"{option} +(\S+)", told)[1]
        assert convert(kind, example) > 0
    assert "off|auto|N,..." in told


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("20000,400000", [20000, 400000]),
        ("null, 20000", [None, 20000]),
        ("pydoc,stdlib", ["pydoc", "stdlib"]),
        ('["a,b.txt", "c.txt"]', ["a,b.txt", "c.txt"]),
        ('"a,b.txt"', "a,b.txt"),
    ],
)
def test_commas_make_a_list_of_values_unless_they_are_quoted(written, value):
    assert types.task_settings([f"task.char.limit={written}"]) == {"char": {"limit": value}}
