"""Real signals that end a run: at its start, during trials, and by a terminal that hangs up."""

import fcntl
import io
import os
import pty
import re
import signal
import subprocess
import sys
import termios

import pytest
from rich.console import Console

import paths
from harness.cli.signals import stopping_on_signals
from harness_results.store.store import Store

FAULTY = paths.FAULTY
SMALL = ("-b", "faulty:slow", "-t", "echo", "-c", "rnn", "-T", "3", "--hidden", "4", "--batch", "2")
WAIT_SECONDS = 200.0


def start(*arguments, path=FAULTY, **options):
    environment = {**os.environ, "PYTHONPATH": str(path)}
    command = [sys.executable, "-m", "harness", "-p", "no:torch", "-p", "no:jax", *arguments]
    return subprocess.Popen(command, env=environment, **options)


def run(store, *arguments, **options):
    return start("run", *SMALL, "--store", str(store), "--format", "json", *arguments, **options)


def statuses(store):
    with Store.open(store, create=False) as opened:
        return [record.status for record in opened.launches()]


LOADING = "import sys, time\nprint('loading', file=sys.stderr, flush=True)\ntime.sleep({seconds})\n"


@pytest.mark.parametrize(
    "module", ["rich_click", "pluggy"]
)  # before the command line is there, and after
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_while_the_command_line_loads_ends_it_without_a_traceback(name, module, tmp_path):
    (tmp_path / f"{module}.py").write_text(LOADING.format(seconds=200), encoding="utf-8")
    with start("run", path=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline() == "loading\n"
        process.send_signal(signal.Signals[name])
        assert process.stderr.read().lstrip() == "interrupted\n"
        assert process.wait(WAIT_SECONDS) == 130


def test_a_hang_up_while_the_command_line_loads_is_ignored_where_it_was_at_the_start(tmp_path):
    (tmp_path / "pluggy.py").write_text(
        LOADING.format(seconds=1) + "sys.exit(7)\n", encoding="utf-8"
    )
    with start(
        "run", path=tmp_path, preexec_fn=ignore_hang_ups, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr.readline() == "loading\n"
        process.send_signal(signal.SIGHUP)
        assert process.wait(WAIT_SECONDS) == 7


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_lets_the_running_trial_finish_and_says_how_to_go_on(name, tmp_path):
    store = tmp_path / "s.sqlite"
    with run(
        store,
        "--steps",
        "8,20",
        "--seed",
        "0,1",
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as one:
        first = one.stderr.readline()
        assert re.match(r"\[1/4\] echo rnn T=3 faulty:slow steps=\d+ seed=\d  ok", first), first
        one.send_signal(signal.Signals[name])
        out, err = one.communicate(timeout=WAIT_SECONDS)
    assert one.returncode == 130, err
    assert "stopping: what runs has 10 s to finish" in err
    assert "go on: the same command" in err
    assert 1 <= len(statuses(store)) < 4
    assert set(statuses(store)) == {"ok"}
    assert len(out.splitlines()) == len(statuses(store))


def test_a_signal_that_comes_while_the_progress_is_written_breaks_nothing(capfd):
    """A buffered stream refuses a second writer in the same thread, as a handler would be."""

    class Interrupted(io.FileIO):
        def write(self, data):
            if b"a finished trial" in bytes(data) and callable(signal.getsignal(signal.SIGTERM)):
                os.kill(os.getpid(), signal.SIGTERM)
            return super().write(data)

    raw = Interrupted(os.dup(2), "w")
    with io.TextIOWrapper(
        io.BufferedWriter(raw), write_through=True, line_buffering=True
    ) as stream:
        console = Console(file=stream)
        with stopping_on_signals(console.print) as stop:
            for _ in range(2):
                console.print("a finished trial")
    assert stop.count == 2
    shown = capfd.readouterr().err
    assert shown.count("a finished trial") == 2
    assert "stopping: what runs has 10 s to finish" in shown
    assert "stopping now" in shown


def ignore_hang_ups():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_a_run_that_was_started_to_ignore_hang_ups_goes_on(tmp_path):
    store = tmp_path / "s.sqlite"
    with run(
        store, "--steps", "8,20", preexec_fn=ignore_hang_ups, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr.readline().startswith("[1/2] echo rnn")
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, err
    assert statuses(store) == ["ok", "ok"]


@pytest.mark.parametrize(
    "heeded", [True, False]
)  # ignored, no signal comes: as where writing fails before it does
def test_a_terminal_that_hangs_up_costs_no_record(heeded, tmp_path):
    store, (ours, theirs) = tmp_path / "s.sqlite", pty.openpty()

    def take_terminal():
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        if not heeded:
            ignore_hang_ups()

    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    with run(
        store, "--steps", "8,20", "--seed", "0,1", preexec_fn=take_terminal, **streams
    ) as process:
        os.close(theirs)
        shown = b""
        while not re.search(rb"\[1/4\] echo rnn T=3 faulty:slow \w+=\d+ \w+=\d+  .*ok", shown):
            shown += os.read(ours, 4096)
        os.close(ours)  # as a window that is closed does
        assert process.wait(WAIT_SECONDS) == (130 if heeded else 0)
    assert len(statuses(store)) in (range(1, 4) if heeded else [4])
    assert set(statuses(store)) == {"ok"}
