"""What a plugin changes in the process while it is loaded is undone and named."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import paths
from harness.plugins.discovery import left_out, load_plugins
from harness.plugins.loading import being_loaded, say_who_ended_the_last

HOOK = """
from harness.cells.rnn import RNN
from harness.contract import hookimpl

class Mine(RNN):
    name = "mine"

@hookimpl
def harness_cells():
    return [Mine()]
"""
CHANGES = {
    "chdir": ("import os; os.chdir('/')", "changed the working directory"),
    "path cleared": ("import sys; sys.path.clear()", "removed entries of sys.path"),
    "path replaced": ("import sys; sys.path = []", "removed entries of sys.path"),
    "blocked": (
        "import sys; sys.modules['json'] = sys.modules['fake_missing'] = None",
        "blocked the import of fake_missing, json",
    ),
    "recursion": ("import sys; sys.setrecursionlimit(400)", "lowered the recursion limit"),
    "handler": (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "changed the handlers of signals (2)",
    ),
    "alarm": ("import signal; signal.alarm(1)", "set an alarm"),
    "dumps": ("import json; json.dumps = lambda *a, **k: '{}'", "replaced json.dumps"),
    "asarray": ("import numpy; numpy.asarray = None", "replaced numpy.asarray"),
    "clock": ("import time; time.perf_counter = lambda: 0.0", "replaced time.perf_counter"),
    "open": ("import builtins; builtins.open = None", "replaced builtins.open"),
    "deleted": ("import time; del time.sleep", "replaced time.sleep"),
    "variables": (
        "import os; os.environ['OMP_NUM_THREADS'] = '7'; os.environ.pop('HOME', None)",
        "(HOME, OMP_NUM_",
    ),
    "stdout closed": ("import sys; sys.stdout.close(); sys.stderr.close()", None),
    "stdout replaced": ("import sys, io; sys.stdout = io.StringIO()", "replaced a standard stream"),
}


def state():
    return {
        "directory": Path.cwd(),
        "path": (id(sys.path), list(sys.path)),
        "blocked": [name for name, module in sys.modules.items() if module is None],
        "recursion": sys.getrecursionlimit(),
        "handlers": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
        "alarm": [signal.getitimer(signal.ITIMER_REAL)[0] > seconds for seconds in (0, 5)],
        "functions": (json.dumps, np.asarray, time.perf_counter, time.sleep, open, os._exit),
        "variables": dict(os.environ),
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "descriptors": [os.fstat(number) for number in range(3)],
    }


@pytest.mark.parametrize("what", CHANGES)
def test_what_a_plugin_changes_while_it_is_loaded_is_put_back_and_told(what, install):
    source, told = CHANGES[what]
    install("fake_acting", source + HOOK, entry_point="acting")
    before = state()
    plugins = load_plugins()
    assert state() == before
    assert plugins.cell("mine").name == "mine"
    assert plugins.broken == ()
    (acting,) = [plugin for plugin in plugins.loaded if plugin.name == "acting"]
    assert told is None or told in "; ".join(acting.changes)
    assert not [
        plugin.name for plugin in plugins.loaded if plugin.changes and plugin.name != "acting"
    ]


def test_a_plugin_may_add_to_the_import_path(install, tmp_path):
    install(
        "fake_adding",
        f"import sys; sys.path.insert(0, {str(tmp_path / 'more')!r})" + HOOK,
        entry_point="adding",
    )
    before = list(sys.path)
    (adding,) = [plugin for plugin in load_plugins().loaded if plugin.name == "adding"]
    assert (sys.path, adding.changes) == ([str(tmp_path / "more"), *before], ())


def test_what_a_broken_plugin_has_changed_is_put_back_too(install):
    install(
        "fake_worse", "import os; os.chdir('/'); os.environ['A'] = 'b'; raise RuntimeError('no')"
    )
    before = state()
    (worse,) = load_plugins().broken
    assert (worse.reason, state()) == ("RuntimeError: no", before)


@pytest.mark.parametrize("status", [0, 3])
def test_a_plugin_that_ends_the_process_is_broken(install, status):
    install(
        "fake_leaving",
        f"import os\ntry:\n    os._exit({status})\nexcept Exception:\n    pass",
        entry_point="leaving",
    )
    (leaving,) = load_plugins().broken
    assert leaving.reason == f"it called os._exit({status}) while it was loaded"


def test_a_process_that_a_plugin_forks_may_end_by_os_exit(install):
    forking = (
        "import os\npid = os.fork()\nif not pid:\n    os._exit(7)\n"
        "assert os.waitpid(pid, 0)[1] == 7 << 8\n"
    )
    install("fake_forking", forking + HOOK)
    assert load_plugins().broken == ()


def test_a_long_text_of_an_error_is_cut(install):
    install("fake_long", "raise RuntimeError('x' * 50_000_000)")
    (long,) = load_plugins().broken
    assert len(long.reason) < 2100
    assert "characters more" in long.reason


def test_only_the_plugins_that_are_wanted_are_imported(install):
    install("fake_wanted", HOOK, entry_point="wanted")
    install("fake_other", "raise AssertionError('imported')", entry_point="other")
    plugins = load_plugins(only=("wanted", "numpy"))
    assert [plugin.name for plugin in plugins.loaded] == ["numpy", "wanted"]
    assert "fake_other" not in sys.modules


def test_those_that_a_trial_needs_are_named_and_all_where_one_is_unknown():
    plugins = load_plugins()
    assert plugins.needed(("backend", "numpy"), ("cell", "lstm"), ("cell", "rnn")) == (
        "numpy",
        "cells",
    )
    assert plugins.needed(("backend", "numpy"), ("cell", "none")) == ()


def test_a_worker_keeps_the_variables_that_its_own_plugins_set(install, monkeypatch):
    monkeypatch.setenv("FAKE_SETTING", "before")
    install(
        "fake_setting",
        "import os; os.environ['FAKE_SETTING'] = 'after'" + HOOK,
        entry_point="setting",
    )
    load_plugins(only=("setting",))
    assert os.environ["FAKE_SETTING"] == "after"


def command(tmp_path, *arguments, **keywords):
    """Run the command line in a process as users do, with the plugins in ``tmp_path``."""
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("PYTHONUNBUFFERED", None)
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
        cwd=tmp_path,
        **keywords,
    )


@pytest.mark.parametrize(
    "end",
    [
        "import ctypes; ctypes.string_at(0)",
        "import os; os.kill(os.getpid(), 9)",
        "import ctypes; ctypes.CDLL(None)._exit(0)",
    ],
)
def test_the_next_command_names_the_plugin_that_ended_the_last(install, tmp_path, end):
    install("fake_deadly", end, entry_point="deadly")
    assert command(tmp_path, "list", "cells").stdout == ""
    named = (
        "note: the last command ended while it loaded plugin 'deadly' (from fake-deadly 1.0); "
        "-p no:deadly leaves it"
    )
    assert named in command(tmp_path, "list", "cells").stderr
    blocked = command(tmp_path, "-p", "no:deadly", "list", "cells")
    assert (blocked.returncode, "deadly" in blocked.stderr) == (0, False), blocked.stderr
    assert "lstm" in blocked.stdout


DEADLY = "import ctypes; ctypes.CDLL(None)._exit(7)"


@pytest.mark.parametrize(
    ("filters", "status", "words"),
    [([], 0, "earlier version"), (["-b", "peers"], 2, "unknown backend")],
)
def test_a_report_does_not_import_a_plugin_that_is_left_out(
    install, tmp_path, filters, status, words
):
    install("fake_deadly", DEADLY, entry_point="deadly")
    dump = (paths.DATA / "store-v2.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(tmp_path / "old.sqlite")) as connection:
        connection.executescript(dump)
    report = ["report", "old.sqlite", *filters]
    assert command(tmp_path, *report).returncode == 7  # it does load plugins
    done = command(tmp_path, "-p", "no:deadly", *report)
    assert (done.returncode, words in done.stdout + done.stderr) == (status, True), done.stderr


def test_completion_does_not_import_a_plugin_that_is_left_out(install, tmp_path, monkeypatch):
    install("fake_deadly", DEADLY, entry_point="deadly")
    words = {"COMP_WORDS": "harness -p no:deadly run --cell rnn,g", "COMP_CWORD": "5"}
    for name, value in (words | {"_HARNESS_COMPLETE": "bash_complete"}).items():
        monkeypatch.setenv(name, value)
    assert "rnn,gru" in command(tmp_path).stdout


def test_plugins_are_left_out_until_the_end_of_the_command(install):
    install("fake_mine", HOOK, entry_point="mine")
    with left_out(["mine"]):
        assert load_plugins(["cells"]).blocked == ("mine", "cells")
    assert "mine" in load_plugins().cells


@pytest.mark.parametrize(
    "source",
    [
        "import os; os.write(1, b'{noise')",
        "import sys; sys.__stdout__.write('{noise')",
        "import sys; sys.stdout = open(1, 'w', closefd=False); print('{noise')",
        "import ctypes; ctypes.CDLL(None).printf(b'{noise')",
    ],
)
def test_what_a_plugin_writes_past_sys_stdout_is_no_result(install, tmp_path, source):
    install("fake_writing", source + HOOK)
    found = command(tmp_path, "list", "cells", "-f", "json")
    assert "mine" in [row["name"] for row in json.loads(found.stdout)]
    assert "{noise" in found.stderr


@pytest.mark.parametrize(
    "source", ["sys.stdout.close()", "sys.__stdout__.close()", "sys.__stderr__.close()"]
)
def test_a_closed_stream_costs_no_output(install, tmp_path, source):
    install("fake_closing", f"import sys; {source}" + HOOK)
    found = command(tmp_path, "list", "cells", "-f", "json")
    assert found.returncode == 0
    assert "mine" in [row["name"] for row in json.loads(found.stdout)]


def test_a_store_lies_where_the_command_was_given(install, tmp_path):
    install("fake_moving", "import os; os.chdir('/')" + HOOK)
    axes = "-b numpy:vectorised -t copy -c mine -T 3 --hidden 2 --steps 2 --batch 2"
    done = command(tmp_path, "run", *axes.split(), "--store", "here.sqlite", "-q")
    assert (done.returncode, (tmp_path / "here.sqlite").exists()) == (0, True), done.stderr


def test_a_plugin_that_takes_long_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("harness.plugins.loading.SLOW_SECONDS", 0.01)
    with being_loaded("slow", "dist 1.0"):
        deadline = time.monotonic() + 30
        while not (told := capsys.readouterr().err) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert (
        told == "plugin 'slow' (from dist 1.0) takes over 0 s to load; -p no:slow leaves it out\n"
    )


def test_ctrl_c_names_the_plugin_and_leaves_nothing(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(KeyboardInterrupt), being_loaded("slow", "dist 1.0"):
        raise KeyboardInterrupt
    told = "interrupted while plugin 'slow' (from dist 1.0) was loaded; -p no:slow leaves it out\n"
    assert capsys.readouterr().err == told
    say_who_ended_the_last()
    assert capsys.readouterr().err == ""
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "source",
    ["threading.Thread(target=time.sleep, args=[50]).start()", "atexit.register(time.sleep, 50)"],
)
def test_what_a_plugin_leaves_running_does_not_keep_the_command(install, tmp_path, source):
    install(
        "fake_lasting",
        f"import atexit, threading, time\nleft = {source}\ngetattr(left, 'start', int)()" + HOOK,
    )
    short = "import harness.cli.main as m, harness.__main__ as e; m.END_SECONDS = 0.5; e.main()"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", short, "list", "cells"],
        capture_output=True,
        text=True,
        timeout=40,
        env=environment,
        check=False,
    )
    assert (done.returncode, "mine" in done.stdout) == (0, True)
    assert "note: ended after 0 s while still running: " in done.stderr


@pytest.mark.parametrize("end", ["ctypes.string_at(0)", "ctypes.CDLL(None)._exit(0)"])
def test_a_worker_that_ends_while_it_loads_a_plugin_names_it_and_costs_its_own_trials_alone(
    install, tmp_path, end
):
    dies = (
        "import ctypes, os, sys\n"
        "if 'harness.measure.runner' in sys.modules and os.getppid() != PARENT:\n    " + end
    )
    install(
        "fake_dying",
        dies.replace("PARENT", "int(os.environ['DRIVERS_PARENT'])") + HOOK,
        entry_point="dying",
    )
    run = (
        "run -b numpy:vectorised -t copy -c rnn,mine -T 3 --hidden 2 --steps 2 --batch 2 "
        "--store s.sqlite -q -f json"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    variables = {
        "PYTHONPATH": path,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "DRIVERS_PARENT": str(os.getpid()),
    }
    done = subprocess.run(
        [sys.executable, "-m", "harness", *run.split()],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | variables,
        cwd=tmp_path,
        check=False,
    )
    found = {row["cell"]: row for row in json.loads(done.stdout)}
    assert (found["rnn"]["status"], found["mine"]["status"]) == ("ok", "crashed"), done.stderr
    assert "while it loaded plugin 'dying' (from fake-dying 1.0)" in found["mine"]["reason"]
    assert "dying" not in command(tmp_path, "-p", "no:dying", "list", "cells").stderr
