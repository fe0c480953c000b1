"""Progress on a terminal: a live line for every launch, and one line about each that has ended."""

import re

import pytest

from harness.contract import Record, Trial
from harness.measure.events import Phase, Progress
from harness.plan.naming import telling_apart
from harness.sweep import progress
from harness.sweep.progress import ProgressView

TRIAL = Trial(backend="numpy", variant="loop", task="copy", cell="lstm", length=20, steps=8)
STEPS = Progress(
    step=4, steps=8, losses=(0.5, 0.25), norms=(1.0, 1.0), clipped=(False, False),
    seconds=0.1, tokens=800, peak_memory_bytes=None,
)  # fmt: skip


@pytest.fixture
def terminal(monkeypatch, capsys):
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)
    return capsys


def test_every_launch_of_one_trial_has_a_live_line(terminal):
    with ProgressView(3) as view:
        for number in (1, 2, 3):
            terminal.readouterr()
            view.event(TRIAL, Phase("load"))
            view.event(TRIAL, STEPS)
            shown = terminal.readouterr().err
            assert all(
                part in shown for part in (f"[{number}/3] copy lstm T=20", "4/8", "loss 0.250")
            )
            view.finish(Record(TRIAL, "ok"))


def test_an_ended_launch_leaves_its_status_and_reason(terminal):
    with ProgressView(1) as view:
        view.event(TRIAL, Phase("load"))
        terminal.readouterr()
        view.finish(Record(TRIAL, "crashed", "SIGSEGV [/x]"))
    shown = terminal.readouterr().err
    assert all(part in shown for part in ("crashed", "SIGSEGV [/x]"))


def test_every_line_names_what_tells_its_trial_apart(terminal):
    other = TRIAL.model_copy(update={"seed": 1, "task_options": {"symbols": 5}})
    with ProgressView(2, names=telling_apart([TRIAL, other])) as view:
        view.event(other, STEPS)
        assert "copy lstm T=20 numpy:loop seed=1 task.symbols=5" in terminal.readouterr().err
        view.finish(Record(other, "ok"))
        assert "copy lstm T=20 numpy:loop seed=1 task.symbols=5  " in terminal.readouterr().err
        view.event(TRIAL, STEPS)
        shown = terminal.readouterr().err
        assert "seed=0" in shown
        assert "task.symbols" not in shown  # this trial has no such option


def test_a_setting_that_follows_from_cell_or_length_tells_nothing_apart():
    trials = [
        TRIAL.model_copy(update={"length": length, "steps": 100 // length}) for length in (10, 20)
    ]
    assert telling_apart(trials) == ()
    assert telling_apart([*trials, trials[0].model_copy(update={"seed": 1})]) == ("seed",)


def test_the_line_of_a_default_trial_fits_80_columns(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(progress, "WHOLE_SECONDS", 0.0)
    trial = TRIAL.model_copy(update={"task": "char", "length": 100, "variant": "native"})
    figures = {"loss_validation": 1.5284, "loss_ratio": 0.79, "tokens_per_second": 250_242.0}
    with ProgressView(1) as view:
        view.finish(Record(trial, "ok", figures=figures))
    shown = re.sub(r"\x1b\[[\d;?]*\w", "", terminal.readouterr().err)
    (line,) = (line.rstrip() for line in shown.splitlines() if "loss" in line)
    assert line == "[1/1] char lstm T=100 numpy:native  ok  loss 1.53 (0.79x)  250k tokens/s  0 s"
    assert len(line) < 80


@pytest.mark.parametrize(
    ("length", "variant", "figures"),
    [
        (20, "loop", "  10.2M tokens/s  0 s"),
        (200, "loop", "  10.2M tokens/s"),
        (200, "vectorised", ""),
    ],
)
def test_a_line_without_room_leaves_out_its_last_figures(
    terminal, monkeypatch, length, variant, figures
):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(progress, "WHOLE_SECONDS", 0.0)
    trial = TRIAL.model_copy(update={"task": "adding", "length": length, "variant": variant})
    measured = {"loss_validation": 0.00242, "loss_ratio": 0.02, "tokens_per_second": 1.02e7}
    with ProgressView(1) as view:
        view.finish(Record(trial, "ok", figures=measured))
    shown = re.sub(r"\x1b\[[\d;?]*\w", "", terminal.readouterr().err)
    (line,) = (line.rstrip() for line in shown.splitlines() if "loss" in line)
    name = f"[1/1] adding lstm T={length} numpy:{variant}"
    assert line == f"{name}  ok  loss 0.00242 (0.02x){figures}"


@pytest.mark.parametrize(
    ("ratio", "told"), [(1.274, "(1.27x)"), (498.75, "(499x)"), (1.2e32, "(1.2e+32x)")]
)
def test_an_ended_launch_tells_its_loss_as_a_multiple_of_the_baseline(terminal, ratio, told):
    with ProgressView(1) as view:
        view.event(TRIAL, Phase("load"))
        terminal.readouterr()
        view.finish(Record(TRIAL, "ok", figures={"loss_validation": 0.5, "loss_ratio": ratio}))
    assert f"loss 0.500 {told}" in terminal.readouterr().err


REASON = "the engine gave 123456789 numbers and no more than that, " * 3


def test_on_a_terminal_the_line_of_an_ended_launch_breaks_at_spaces(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with ProgressView(1) as view:
        view.finish(Record(TRIAL, "failed", REASON))
    lines = [
        re.sub(r"\x1b\[[\d;?]*\w", "", line) for line in terminal.readouterr().err.splitlines()
    ]
    assert max(map(len, lines)) <= 80
    assert REASON.strip() in " ".join(" ".join(lines).split())


def test_without_a_terminal_the_line_of_an_ended_launch_is_unbroken(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with ProgressView(1) as view:
        view.finish(Record(TRIAL, "failed", REASON))
    (line,) = capsys.readouterr().err.splitlines()
    assert REASON.strip() in line


def sweep(view, statuses=("ok", "crashed")):
    for status in statuses:
        view.event(TRIAL, Phase("load"))
        view.finish(Record(TRIAL, status, "SIGSEGV"))


def test_a_sweep_of_many_launches_has_a_line_about_the_whole(terminal):
    with ProgressView(6, reused=1) as view:
        sweep(view)
        terminal.readouterr()
        view.event(TRIAL, Phase("load"))
        shown = " ".join(terminal.readouterr().err.split())
    assert all(
        part in shown
        for part in ("3/6 done", "1 running, 1 failed, 2 left", "an hour", "to go, to ")
    )


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, 2), (3600.0, 0)])
def test_without_a_terminal_the_whole_is_told_now_and_then_in_a_plain_line(
    monkeypatch, capsys, seconds, lines
):
    monkeypatch.setattr(progress, "TELL_SECONDS", seconds - 1)
    with ProgressView(6) as view:
        sweep(view)
    shown = [line for line in capsys.readouterr().err.splitlines() if " done: " in line]
    assert len(shown) == lines
    if lines:
        assert shown[-1].startswith("2 of 6 done: 0 running, 1 failed, 4 left, ")
        assert shown[-1].endswith("last failure: copy lstm T=20 numpy:loop: crashed: SIGSEGV")


def test_a_few_launches_need_no_summary(terminal):
    with ProgressView(3) as view:
        sweep(view)
    assert "an hour" not in terminal.readouterr().err


def test_launches_that_run_at_once_have_a_live_line_each(terminal):
    other = TRIAL.model_copy(update={"length": 40})
    with ProgressView(2) as view:
        view.event(TRIAL, Phase("load"))
        view.event(other, Phase("load"))
        view.event(TRIAL, STEPS)
        terminal.readouterr()
        view.event(other, STEPS)
        shown = terminal.readouterr().err
        assert all(part in shown for part in ("[1/2] copy lstm T=20", "[2/2] copy lstm T=40"))
        assert shown.count("loss 0.250") == 2
        view.finish(Record(TRIAL, "ok"))
        terminal.readouterr()
        view.event(other, STEPS)
        shown = terminal.readouterr().err
        assert "copy lstm T=40" in shown
        assert "copy lstm T=20" not in shown


def test_a_quiet_view_still_tells_what_went_wrong(capsys):
    with ProgressView(1, quiet=True) as view:
        view.note("a note")
        view.error("the disk is full")
        view.note("another")
    assert capsys.readouterr().err == "error: the disk is full\n"
