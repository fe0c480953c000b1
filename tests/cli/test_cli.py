"""The command line as a person types it: real processes, real trials, exit statuses."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import sample
from harness.contract import COLUMNS

TINY = ["--threads", "1", "--hidden", "8", "--batch", "4", "--steps", "12"]
CHAR = ["-t", "char", "-c", "lstm", "--set", "task.char.limit=4000", "-T", "10", "--sample", "40"]


def harness(*arguments, cwd, **variables):
    environment = {**os.environ, "COLUMNS": "140", **variables}
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A folder with a store of two runs: copy on two cells, and a text."""
    folder = tmp_path_factory.mktemp("measured")
    copy = harness(
        "run", "-t", "copy", "-c", "rnn,lstm", "-T", "5,8", *TINY, "--format", "json", cwd=folder
    )
    text = harness("run", *CHAR, *TINY, cwd=folder)
    assert (copy.returncode, text.returncode) == (0, 0), copy.stderr + text.stderr
    return folder, copy, text


def rows(stdout):
    return json.loads(stdout)


def test_json_is_one_flat_object_per_trial_with_exactly_the_columns(measured):
    records = rows(measured[1].stdout)
    assert [(row["cell"], row["length"], row["status"]) for row in records] == [
        ("rnn", 5, "ok"),
        ("rnn", 8, "ok"),
        ("lstm", 5, "ok"),
        ("lstm", 8, "ok"),
    ]
    assert all(tuple(row) == (*COLUMNS, "versions") for row in records)
    assert {"harness", "Python", "numpy"} <= set(records[0]["versions"])


def test_json_lines_have_the_objects_of_the_array(measured):
    folder, copy, _ = measured
    lines = harness("report", "-f", "jsonl", "--run", "1", cwd=folder).stdout.splitlines()
    assert list(map(json.loads, lines)) == rows(copy.stdout)


def test_progress_goes_to_stderr_in_plain_lines_where_there_is_no_terminal(measured):
    _, copy, _ = measured
    assert len(copy.stderr.splitlines()) == 4
    assert re.match(
        r"\[1/4\] copy rnn T=5 numpy:vectorised  ok  loss [\d.]+ \([\d.]+x\)", copy.stderr
    )
    assert "\x1b" not in copy.stderr + copy.stdout


def test_text_while_it_learns_the_table_and_what_to_type_next_go_to_stdout(measured):
    out = measured[2].stdout
    title = "lstm T=10 numpy:vectorised: text that it writes while it learns"
    parts = [
        title,
        "\n  step 12  ",
        "\nchar   hidden 8",
        "T = 10",
        "\ntrigram ",
        "Loss against the",
    ]
    assert all(part in out for part in parts)
    assert sorted(parts, key=out.index) == parts
    next_command = re.search(r"\nnext: (harness show [0-9a-f]{4}) ", out)[1]
    shown = harness(*next_command.split()[1:], cwd=measured[0])
    assert (shown.returncode, "lstm  T=10" in shown.stdout) == (0, True)
    assert "n-gram losses" in harness("report", cwd=measured[0]).stdout


def test_a_report_in_a_file_is_that_in_a_pipe(measured):
    folder, piped = measured[0], harness("report", cwd=measured[0])
    done = harness("report", "-o", "r.txt", cwd=folder, FORCE_COLOR="1")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (folder / "r.txt").read_text(encoding="utf-8") == piped.stdout


@pytest.mark.parametrize("format_", ["table", "markdown", "csv", "json"])
def test_report_shows_what_was_measured(measured, format_):
    done = harness("report", "--format", format_, cwd=measured[0])
    assert done.returncode == 0, done.stderr
    assert "copy" in done.stdout
    if format_ == "json":
        assert len(rows(done.stdout)) == 5
    if format_ == "csv":
        assert done.stdout.splitlines()[0] == ",".join(COLUMNS)
        assert len(done.stdout.splitlines()) == 6


def test_report_writes_a_file_and_takes_one_run(measured):
    folder = measured[0]
    done = harness("report", "-f", "json", "--run", "2", "-o", "out.json", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "")
    assert [row["task"] for row in rows((folder / "out.json").read_text())] == ["char"]
    last = harness("report", "-f", "json", "--run", "last", cwd=folder)
    assert last.stdout == (folder / "out.json").read_text()


def test_report_says_that_the_store_is_an_argument(measured):
    done = harness("report", "--store", "my store", cwd=measured[0])
    assert done.returncode == 2
    assert "argument here, without --store: harness report 'my store'" in done.stderr


def test_the_same_command_again_gives_the_table_at_once_and_says_where_it_is_from(measured):
    folder, copy, _ = measured
    again = harness(
        "run", "-t", "copy", "-c", "rnn,lstm", "-T", "5,8", *TINY, "--format", "json", cwd=folder
    )
    assert (again.returncode, again.stdout) == (0, copy.stdout)
    told = r"note: all 4 trials are in harness\.sqlite from [-\d: ]+; --fresh measures them again\n"
    assert re.fullmatch(told, again.stderr)
    both = harness("run", "--fresh", "--retry-failed", cwd=folder)
    assert (both.returncode, "leave --retry-failed out" in both.stderr) == (2, True)


def test_show_gives_everything_about_a_trial_by_its_first_digits(measured):
    folder, copy, _ = measured
    trial_id = rows(copy.stdout)[-1]["trial_id"]
    shown = harness("show", trial_id[:8], "--all", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    assert all(word in shown.stdout for word in (trial_id, "gradient", "parity", "environment"))
    whole = json.loads(harness("show", trial_id, "--format", "json", cwd=folder).stdout)
    assert len(whole["curves"]["loss"]) == 12
    assert set(whole["curves"]["gradient_flow"]) == {"initial", "final"}
    assert whole["details"]["overfitting_gap"] is not None


@pytest.mark.parametrize("verb", ["report", "show", "sample"])
def test_every_verb_finds_the_store_that_the_environment_names(measured, tmp_path, verb):
    folder, trial_id = (
        measured[0],
        rows(harness("report", "-f", "json", "--run", "2", cwd=measured[0]).stdout)[0]["trial_id"],
    )
    arguments = [verb] if verb == "report" else [verb, trial_id]
    done = harness(*arguments, cwd=tmp_path, HARNESS_STORE=str(folder / "harness.sqlite"))
    assert (done.returncode, done.stderr) == (0, "")


def test_sample_draws_the_same_text_from_the_same_seed(measured):
    folder = measured[0]
    trial_id = rows(harness("report", "-f", "json", "--run", "2", cwd=folder).stdout)[0]["trial_id"]
    arguments = ("sample", trial_id, "-n", "60", "--seed", "3", "--temperature", "0.7")
    first, again = harness(*arguments, cwd=folder), harness(*arguments, cwd=folder)
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    assert len(first.stdout) == 61
    in_python = sample(
        trial_id, store=folder / "harness.sqlite", length=60, temperature=0.7, seed=3
    )
    assert f"{in_python}\n" == first.stdout
    assert harness("sample", trial_id, "-n", "60", "--seed", "4", cwd=folder).stdout != first.stdout


def test_sample_refuses_what_is_no_text_and_unknown_characters(measured):
    folder, copy, _ = measured
    synthetic = harness("sample", rows(copy.stdout)[0]["trial_id"], cwd=folder)
    assert synthetic.returncode == 2
    assert "not text" in synthetic.stderr
    text = rows(harness("report", "-f", "json", "--run", "2", cwd=folder).stdout)[0]["trial_id"]
    unknown = harness("sample", text, "--prime", "☃", cwd=folder)
    assert unknown.returncode == 2
    assert "☃" in unknown.stderr


def test_a_dry_run_prints_the_trials_and_measures_nothing(tmp_path):
    done = harness("run", "-c", "lstm", "-T", "5:20:x2", "--seed", "0,1", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "6 trials"
    assert list(tmp_path.iterdir()) == []


def test_a_plan_file_runs_and_flags_override_it(tmp_path):
    (tmp_path / "plan.toml").write_text(
        '[matrix]\ntask = ["copy"]\ncell = ["lstm"]\nlength = [3, 4]\nhidden = [4]\nsteps = [3]\n'
        "[task.copy]\nsymbols = 2\n"
    )
    done = harness(
        "run", "plan.toml", "--threads", "1", "-T", "6", "--format", "json", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert [(row["length"], row["hidden"], row["steps"]) for row in rows(done.stdout)] == [
        (6, 4, 3)
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "-b", "nunpy"), "Did you mean numpy"),
        (("run", "-t", "cpoy"), "Did you mean copy"),
        (("run", "-c", "lstn"), "Did you mean lstm"),
        (("run", "-b", "numpy:fussed"), "unknown variant of backend 'numpy': 'fussed'"),
        (("run", "-T", "0"), "length = 0"),
        (("run", "-T", "1000000000"), "1000000"),
        (("run", "--batch", "0", "--hidden", "0"), "2 problems"),
        (("run", "--learning-rate", "nan"), "learning_rate = nan"),
        (
            ("run", "--checkpoint", "0"),
            "error: checkpoint = 0: input should be 'off' or 'auto' or greater than",
        ),
        (("run", "--learning-rate", "fast"), "expected numbers"),
        (("run", "--set", "task.copy"), "task.NAME.OPTION=VALUE"),
        (("run", "--set", "task.char.corpuss=x"), "Did you mean task.char.corpus"),
        (("run", "--set", "task.char.corpus=nowhere.txt"), "nowhere.txt"),
        (("run", "--device", "cuda"), "usable: cpu"),
        (("run", "nowhere.toml"), "nowhere.toml"),
        (("run", "--store", "no/such/folder/x.sqlite"), "--store"),
        (("run", "--seed", ",".join(map(str, range(400)))), "--yes"),
        (("run", "--timeout", "never"), "not a duration"),
        (("runn",), "Did you mean run"),
        (("report",), "harness.sqlite"),
        (("report", "--run", "1" * 5000), "is not a run"),
        (("new", "cell", "abc", "--directory", "x" * 5000), "too long; name another path"),
        (("run", "-t", "copy", "--store", "x" * 5000), "File name too long"),
        (("plan", "validate", "/dev/zero"), "has more than"),
        (("run", "-T", "1:400:x1.02"), "or ranges FIRST:LAST:xFACTOR"),
        (("show", "abc"), "harness.sqlite"),
        (("check", "--backend", "nunpy"), "Did you mean numpy"),
        (("--plugin", "numpy", "list"), "no:NAME"),
        (("--plugin", "no:numpy", "run"), "blocked"),
        (("new", "backend", "../evil"), "name"),
    ],
)
def test_bad_input_ends_with_two_and_a_fix_before_any_trial_runs(tmp_path, arguments, message):
    done = harness(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.stderr).split())
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_trial_that_diverges_ends_with_three_and_is_shown(tmp_path):
    arguments = (
        "-t",
        "copy",
        "-c",
        "rnn_relu",
        "-T",
        "5",
        *TINY,
        "--learning-rate",
        "1e6",
        "--clip-norm",
        "none",
    )
    done = harness("run", *arguments, "--optimizer", "sgd", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "diverged at step" in done.stdout
    assert "n/a" in done.stdout


def test_interrupting_stores_what_is_done_and_ends_with_130(tmp_path):
    command = [
        sys.executable,
        *shlex.split("-m harness run -t copy -c lstm -T 5,6 --threads 1 --hidden 8"),
    ]
    command += ["--steps", "100000000"]
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        _wait_for(tmp_path / "harness.sqlite")
        time.sleep(3)  # into the first trial
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "nothing new starts" in err
    assert "interrupted: 1 record is stored, 1 trial was not started" in err
    assert "interrupted" in out
    (record,) = rows(harness("report", "-f", "json", cwd=tmp_path).stdout)
    assert record["status"] == "interrupted"


def _wait_for(path: Path) -> None:
    for _ in range(300):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} never came")


def test_no_home_is_no_obstacle(tmp_path):
    done = harness("run", "-t", "copy", "-T", "3", *TINY, cwd=tmp_path, HOME="/dev/null/home")
    assert done.returncode == 0, done.stderr


def test_the_environment_is_printed_for_bug_reports(tmp_path):
    record = json.loads(harness("env", "--format", "json", cwd=tmp_path).stdout)
    assert record["environment_id"]
    assert record["libraries"]["numpy"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_verbs(tmp_path, shell):
    done = harness("completion", shell, cwd=tmp_path)
    assert done.returncode == 0
    assert "_HARNESS_COMPLETE" in done.stdout


def test_names_are_completed_from_what_is_installed(tmp_path):
    words = {
        "COMP_WORDS": "harness run --cell rnn,g",
        "COMP_CWORD": "3",
        "_HARNESS_COMPLETE": "bash_complete",
    }
    assert "rnn,gru" in harness(cwd=tmp_path, **words).stdout


def test_listing_says_what_is_missing_and_the_fix(tmp_path):
    """A folder whose ``torch`` cannot be found simulates a machine without it."""
    code = (
        "import importlib.util as u, sys\nfind = u.find_spec\n"
        "missing = ('torch', 'jax')\n"
        "u.find_spec = lambda name, *rest: None if name in missing else find(name, *rest)\n"
        "from harness.cli.main import main\nmain(sys.argv[1:])"
    )
    environment = {**os.environ, "COLUMNS": "200"}
    for arguments, status in ((["list", "backends"], 0), (["run", "-b", "torch"], 2)):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == status
        assert "pip install" in done.stdout + done.stderr
        assert "rnn-harness[torch]" in done.stdout + done.stderr


def test_an_ascii_stdout_escapes_what_it_cannot_hold(tmp_path):
    (tmp_path / "fox.txt").write_text("The quick brown 🦊 jumps. " * 200, encoding="utf-8")
    arguments = ["-t", "char", "--set", "task.char.corpus=fox.txt", "-T", "10", "--sample", "200"]
    done = harness("run", *arguments, *TINY, cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "\\U0001f98a" in done.stdout
    assert (
        harness("report", "-f", "markdown", cwd=tmp_path, PYTHONIOENCODING="ascii").returncode == 0
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "arguments", [("report",), ("report", "-f", "json"), ("list",), ("--help",)]
)
def test_an_output_that_cannot_be_written_is_one_message(measured, arguments):
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "harness", *arguments]
        done = subprocess.run(
            command, cwd=measured[0], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: cannot write the output: No space left on device; .*\n", done.stderr
    )


def test_a_closed_stdout_is_no_crash(measured):
    command = ["sh", "-c", 'exec "$0" -m harness report -f json >&-', sys.executable]
    done = subprocess.run(command, cwd=measured[0], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_store_that_cannot_grow_keeps_and_shows_what_it_acknowledged(tmp_path):
    """A limit on the size of files simulates a full disk."""
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (130_000, 130_000))\n"
    code = limit + "from harness.cli.main import main\nmain(sys.argv[1:])"
    command = [
        sys.executable,
        "-c",
        code,
        "run",
        "-t",
        "copy",
        "-T",
        "5,6,7,8,9,10",
        *TINY,
        "--format",
        "json",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert re.search(
        r"error: store harness\.sqlite cannot be written .* bytes are free", done.stderr
    )
    stored = rows(harness("report", "-f", "json", cwd=tmp_path).stdout)
    assert 0 < len(stored) < 6
    assert rows(done.stdout) == stored
