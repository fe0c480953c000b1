"""The facts that decide a record in addition to its trial."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from builders import trial_of
from harness.contract import Task, TaskOptions, UnavailableError
from harness.execute.interpreters import Interpreter
from harness.execute.settings import LocalSettings
from harness.execute.slots import Slots
from harness.measure.machine import variables
from harness.measure.machine.environment import environment_record
from harness.plugins import load_plugins
from harness.sweep import sources
from harness.sweep.identity import identities, plan_digest

PEERS = ("flax", "haiku", "equinox", "keras")


def trial(**changes):
    return trial_of(**({"cell": "rnn", "length": 3} | changes))


@pytest.fixture(scope="module")
def plugins():
    return load_plugins(block=PEERS)


def facts(plugins, one=None, settings=None):
    one = one or trial()
    return dict(identities([one], plugins, settings or LocalSettings())[one.trial_id].facts)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The folder of a package that imports ``harness_dune``, and a function for their digests."""
    folder = tmp_path / "harness_sand"
    (folder / "grains").mkdir(parents=True)
    (folder / "__init__.py").write_text("from harness_dune import height\n")
    (folder / "grains" / "kernel.c").write_text("int one;")
    (tmp_path / "harness_dune.py").write_text("height = 1\n")
    monkeypatch.syspath_prepend(tmp_path)

    def digests():
        sources._sources.cache_clear()
        return sources.digests(["harness_sand"])

    yield folder, digests
    sources._sources.cache_clear()


def test_the_digest_of_a_package_covers_its_files_and_what_it_imports_of_ours(package):
    folder, digests = package
    before = digests()
    assert set(before) == {"harness", "harness_sand", "harness_dune"}
    (folder / "grains" / "kernel.c").write_text("int two;")
    changed = digests()
    assert {name for name in before if before[name] != changed[name]} == {"harness_sand"}
    (folder.parent / "harness_dune.py").write_text("height = 2\n")
    assert {name for name in before if changed[name] != digests()[name]} == {"harness_dune"}


def test_bytecode_does_not_count(package):
    folder, digests = package
    before = digests()
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"1")
    assert digests() == before


CORE = Path(sources.__file__).parent.parent


def test_of_the_core_only_what_a_worker_runs_counts():
    counted = {str(path.relative_to(CORE)) for path in sources.core_files(CORE)}
    assert {
        "cells/gru.py",
        "contract/trial.py",
        "execute/process.py",
        "measure/proof/parity.py",
        "measure/runner.py",
        "measure/timing/clock.py",
        "measure/worker.py",
        "plugins/validation.py",
        "version.py",
    } <= counted
    rooms = {name.partition("/")[0] for name in counted}
    assert rooms == {
        "cells",
        "contract",
        "execute",
        "measure",
        "plugins",
        "recurrence",
        "version.py",
    }
    others = {"measure/machine/diagnostics.py", "execute/slots.py", "execute/settings.py"}
    assert not others & counted


def test_every_module_of_the_core_that_a_trial_imports_counts():
    code = """
import sys
import harness.execute.process, harness.measure.worker
from harness.contract import Trial
from harness.measure.runner import Settings, run_trial
trial = dict(backend="numpy", variant="loop", task="copy", cell="lstm", length=3, steps=3)
*_, last = run_trial(Trial(**trial), Settings(only=("numpy", "tasks", "cells")))
assert last.record.status == "ok", last.record.reason
print(*(sys.modules[name].__file__ for name in sorted(sys.modules) if name.startswith("harness.")))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    imported = set(map(Path, done.stdout.split()))
    assert len(imported) > 50
    assert imported <= sources.core_files(CORE)


def test_imports_inside_functions_and_of_packages_are_followed(tmp_path):
    root = tmp_path / "harness"
    files = {
        "__init__.py": "from harness.cli import main",
        "cli.py": "",
        "execute/process.py": "def f():\n  from harness.tools import (\n    hammer,\n    nail)",
        "measure/worker.py": "import os, harness.tools.deep.saw\nfrom . import other",
        "tools/__init__.py": "nail = 1",
        "tools/hammer.py": "",
        "tools/unused.py": "",
        "tools/deep/__init__.py": "import harness.unknown",
        "tools/deep/saw.py": "from harness.tools.hammer import grip",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    left_out = {"__init__.py", "cli.py", "tools/unused.py"}
    assert sources.core_files(root) == {root / name for name in files if name not in left_out}


@pytest.mark.parametrize(
    ("settings", "stored"),
    [
        ({}, {}),
        ({"retries": 3, "gpu": "1", "keep_logs": True, "timeout_seconds": 3.0}, {}),
        ({"affinity": (0, 2), "sample_length": 5}, {"affinity": "0,2", "sample_length": "5"}),
        ({"slots": Slots(((0,), (1,)), ("0", "3"))}, {"jobs": "2", "cards": "0,3"}),
        ({"slots": Slots(((0,),))}, {}),
        ({"sample_every": 20}, {"sample_every": "20"}),
        ({"probe_every": 5}, {"probe_every": "5"}),
        ({"follow_lengths": True}, {"follow_lengths": "yes"}),
        ({"isolation": "backend", "cluster": "ray"}, {"isolation": "backend", "cluster": "ray"}),
    ],
)
def test_the_stored_names_of_settings_stay(settings, stored):
    assert LocalSettings(**settings).facts() == {"sample_length": "0"} | stored


def test_a_package_that_cannot_be_found_is_left_out():
    assert set(sources.digests(["no_such_package_at_all"])) == {"harness"}


def test_an_identity_names_versions_code_machine_and_settings(plugins):
    found = facts(plugins)
    code = {f"code of {name}" for name in ("harness", "harness_numpy", "harness_tasks")}
    plugins_of = {"backend numpy from", "task copy from", "cell rnn from"}
    assert {"harness", "python", "machine", "numpy", "sample_length"} | code | plugins_of <= set(
        found
    )
    assert "code of harness_torch" not in found


def test_a_file_that_an_option_names_counts_by_its_content(plugins, tmp_path):
    (tmp_path / "book.txt").write_text("abc")
    one = trial(task="char", task_options={"corpus": str(tmp_path / "book.txt")})
    before = facts(plugins, one)
    (tmp_path / "book.txt").write_text("abd")
    after = facts(plugins, one)
    assert {name for name in before if before[name] != after[name]} == {
        f"code of {tmp_path / 'book.txt'}"
    }


def test_a_corpus_under_the_home_folder_counts_by_its_content(plugins, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    one = trial(task="char", task_options={"corpus": "~/book.txt"})
    (tmp_path / "book.txt").write_text("abc")
    before = facts(plugins, one)
    (tmp_path / "book.txt").write_text("abd")
    after = facts(plugins, one)
    assert {name for name in before if before[name] != after[name]} == {
        f"code of {tmp_path / 'book.txt'}"
    }


def test_the_name_of_a_known_corpus_is_not_taken_for_a_file(plugins, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = trial(task="char", task_options={"corpus": "grammar"})
    before = facts(plugins, one)
    (tmp_path / "grammar").write_text("abc")
    assert facts(plugins, one) == before


def test_a_file_is_read_once_for_all_trials_of_a_plan(plugins, tmp_path, monkeypatch):
    (tmp_path / "book.txt").write_text("abc" * 100)
    reads = []
    digest = hashlib.file_digest
    monkeypatch.setattr(
        hashlib, "file_digest", lambda *given: reads.append(given) or digest(*given)
    )
    options = {"corpus": str(tmp_path / "book.txt")}
    trials = [trial(task="char", task_options=options, length=n) for n in range(2, 12)]
    assert len(identities(trials, plugins, LocalSettings())) == 10
    assert len(reads) == 1


class Reader(Task):
    """A task of today's contract with a text option and no ``files``."""

    name = "reader"

    class Options(TaskOptions):
        table: str = ""
        word: str = "x" * 5000


Reader.__abstractmethods__ = frozenset()  # only its files are asked for here


def test_a_task_that_names_no_files_has_those_of_its_options(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "table.csv").write_text("1")
    assert list(Reader(Reader.Options(table="~/table.csv"), 3).files()) == [tmp_path / "table.csv"]
    assert list(Reader(Reader.Options(table="no\0path"), 3).files()) == []


def test_a_task_that_fails_to_name_its_files_is_named(plugins, monkeypatch):
    monkeypatch.setattr(plugins.task("copy"), "files", lambda self: 1 / 0)
    with pytest.raises(UnavailableError, match=r"task 'copy' from rnn-harness .* is broken: files"):
        facts(plugins)


@pytest.mark.parametrize("prefix", variables.PREFIXES)
def test_a_variable_of_an_engine_counts_by_its_prefix(plugins, monkeypatch, prefix):
    before = facts(plugins)
    monkeypatch.setenv(f"{prefix}SOME_NEW_SETTING", "1")
    assert facts(plugins) == before | {f"variable {prefix}SOME_NEW_SETTING": "1"}
    assert environment_record()["variables"][f"{prefix}SOME_NEW_SETTING"] == "1"


@pytest.mark.parametrize(
    "name",
    [
        "JAX_COMPILATION_CACHE_DIR",
        "NUMBA_CACHE_DIR",
        "TORCHINDUCTOR_CACHE_DIR",
        "TORCH_LOGS",
        "TF_CPP_MIN_LOG_LEVEL",
    ],
)
def test_a_variable_of_a_cache_or_a_log_is_recorded_and_decides_nothing(plugins, monkeypatch, name):
    monkeypatch.delenv(name, raising=False)
    before = facts(plugins)
    monkeypatch.setenv(name, "1")
    assert facts(plugins) == before
    assert environment_record()["variables"][name] == "1"


def test_a_secret_is_not_recorded(plugins, monkeypatch):
    monkeypatch.setenv("NVIDIA_API_KEY", "hush")
    assert "hush" not in str(environment_record()) + str(facts(plugins))


@pytest.mark.parametrize("name", ["TF_VAR_database", "TF_CLI_CONFIG_FILE", "TF_WORKSPACE"])
def test_variables_of_terraform_are_none_of_tensorflows(plugins, monkeypatch, name):
    monkeypatch.setenv("TF_XLA_FLAGS", "--on")
    before = facts(plugins)
    monkeypatch.setenv(name, "hush")
    assert "hush" not in str(environment_record()) + str(facts(plugins))
    assert facts(plugins) == before
    assert environment_record()["variables"]["TF_XLA_FLAGS"] == "--on"


def test_variables_that_each_worker_gets_anew_do_not_count(plugins, monkeypatch):
    before = facts(plugins)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    assert facts(plugins) == before
    monkeypatch.setenv("OMP_SCHEDULE", "static")
    assert facts(plugins) == before | {"variable OMP_SCHEDULE": "static"}


def test_another_interpreter_answers_for_itself(plugins, tmp_path):
    here = Interpreter("here", Path(sys.executable), "0", frozenset())
    answered = facts(plugins, trial(python="here"), LocalSettings(pythons={"here": here}))
    assert answered == facts(plugins)
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    settings = LocalSettings(pythons={"here": Interpreter("here", old, "0.0.1", frozenset())})
    twice = [facts(plugins, trial(python="here"), settings) for _ in range(2)]
    assert twice[0]["harness"] == "0.0.1"
    assert twice[0] != twice[1]  # what cannot be told is never taken for the same


def test_an_interpreter_that_does_not_read_its_question_ends_nobody(tmp_path):
    code = f"""
import signal
from pathlib import Path
from harness.sweep import identity
from harness.execute.interpreters import Interpreter
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # as the command line has it
keys = [("backend", "task", "cell")] * 10_000  # more than a pipe holds
old = Interpreter("old", Path({str(tmp_path / "python")!r}), "0.0.1", frozenset())
(facts, *_) = identity._elsewhere(keys, old, ())
print(facts["harness"])
"""
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "0.0.1\n"), done.stderr


def test_the_digest_of_a_plan_has_no_order(plugins):
    pair = [trial(seed=1), trial(seed=2)]
    forward, back = (identities(some, plugins, LocalSettings()) for some in (pair, pair[::-1]))
    assert plan_digest(forward) == plan_digest(back)
    assert plan_digest(forward) != plan_digest({pair[0].trial_id: forward[pair[0].trial_id]})


def test_no_engine_is_imported_to_answer():
    code = (
        "import sys\n"
        "from harness.contract import Trial\n"
        "from harness.execute.settings import LocalSettings\n"
        "from harness.plugins import load_plugins\n"
        "from harness.sweep.identity import identities\n"
        "plugins = load_plugins()\n"
        "names = [name for name in plugins.backends if not plugins.backends[name].groups]\n"
        "small = dict(variant='x', task='copy', cell='lstm', length=3)\n"
        "trials = [Trial(backend=name, **small) for name in names]\n"
        "found = identities(trials, plugins, LocalSettings())\n"
        "assert len(found) == len(names) >= 1\n"
        "print(*({'torch', 'jax', 'jaxlib', 'keras', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
