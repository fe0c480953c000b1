"""Gives `harness` hostile plans, command lines and stores, and counts tracebacks and hangs.

    python benchmarks/hostile_inputs.py                       # everything, some minutes
    python benchmarks/hostile_inputs.py --plans 20 --commands 20 --bytes 20 --stores 4
    python benchmarks/hostile_inputs.py --only stores:12      # one case again, its output printed

Each command runs in a forked process, with a limit of memory and time. The cases depend on
``--seed`` alone.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import script

from harness.cli import main as cli
from harness.contract import UsageError

LIMIT_SECONDS = 60
MEMORY_BYTES = 6 * 2**30
EXPECTED = {0, 2, 3, 4, 5}  # the documented exit statuses of commands that were not interrupted
LONG = ("doctor", "check", "completion")  # fuzzed with options that end at once
READERS = (
    ["report"], ["report", "-f", "json"], ["report", "-f", "markdown"], ["report", "-f", "latex"],
    ["report", "-f", "html", "-o", "{out}"], ["report", "--relative", "numpy:vectorised"],
    ["compare", "{store}", "{store}", "--allow-mixed"],
    ["show", "{trial}", "--store", "{store}"], ["status"], ["store", "info"], ["store", "check"],
    ["store", "export", "-f", "jsonl", "--curves"],
    ["store", "merge", "{new}"], ["run", "--store", "{store}", "{plan}", "--dry-run"],
    ["sample", "{trial}", "--store", "{store}", "-n", "5"],
)  # fmt: skip
VIEW = """
CREATE VIEW records AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
SELECT * FROM hidden, n
"""
PLAN = """
launches = 2
timeout = "10m"
[matrix]
backend = ["numpy:vectorised", "numpy:loop"]
task = "copy"
cell = ["rnn", "lstm"]
length = [3, 4]
hidden = 4
batch = 2
steps = 6
learning_rate = 1e-3
clip_norm = "none"
[task.copy]
symbols = 2
[backend.numpy]
threads = 1
[[exclude]]
cell = "lstm"
length = 4
"""
TOKENS = (
    "9" * 4301, "-" + "9" * 5000, "[" * 2000, "[" * 500 + "]" * 500, "{a=" * 500,
    '"' + "x" * 100_000 + '"', "nan", "inf", "-0", "1e400", "2024-01-01", "true", "none", "''",
    '"\\u0000"', "[]", "{}", "[[1]]", "1_000", "0x10", "'\x1b[31m'", ".".join("a" * 20_000),
    '"1:1000000000:1"', '"é😀"', "[1, 'a']", "18446744073709551616", "1e-400",
)  # fmt: skip


@dataclass(frozen=True)
class Ground:
    """What all cases start from: an undamaged store, its plan, and one of its trials."""

    folder: Path
    store: Path
    plan: Path
    trial: str


@dataclass(frozen=True)
class Case:
    """Commands in a folder of their own, after ``prepare`` has made what they read."""

    name: str
    prepare: Callable[[Path], None]
    commands: Sequence[Sequence[str]]


def main(words: Sequence[str]) -> None:
    """Run the cases; print a line for each fault and a summary of each family."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, count in (("plans", 300), ("commands", 700), ("bytes", 300), ("stores", 40)):
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="FAMILY:N", help="this case alone, with what it prints")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        ground = lay(Path(name))
        families = {
            "plans": plans(arguments.plans, arguments.seed),
            "commands": command_lines(ground, arguments.commands, arguments.seed),
            "bytes": damaged_bytes(ground, arguments.bytes, arguments.seed),
            "stores": hostile_stores(ground, arguments.stores),
        }
        faults = sum(
            run_family(family, cases, ground, arguments.only) for family, cases in families.items()
        )
    sys.exit(1 if faults else 0)


def lay(folder: Path) -> Ground:
    """Make the good store: two launches of six trials, and a text model with its checkpoint."""
    store, plan = folder / "good.sqlite", folder / "good.toml"
    plan.write_text(PLAN)
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet):
        status = cli._status(["run", str(plan), "--store", str(store), "-q", "-f", "jsonl"])  # noqa: SLF001
        text = [
            "-t",
            "char",
            "-c",
            "rnn",
            "-T",
            "5",
            "--hidden",
            "4",
            "--batch",
            "2",
            "--steps",
            "6",
            "--sample",
            "5",
        ]
        status |= cli._status(  # noqa: SLF001
            ["run", *text, "-b", "numpy:loop", "--store", str(store), "-q", "-f", "jsonl"]
        )
    if status:
        raise UsageError(
            f"the run that fills the undamaged store failed with exit status {status}: "
            "run its plan by hand to see why"
        )
    trial = json.loads(quiet.getvalue().splitlines()[-1])["trial_id"]
    return Ground(folder, store, plan, trial)


def run_family(family: str, cases: Iterator[Case], ground: Ground, only: str | None) -> int:
    """Run the cases of one family and return how many commands failed."""
    statuses: Counter[str] = Counter()
    number, began = 0, time.monotonic()
    for number, case in enumerate(cases, start=1):
        if only is not None and only != f"{family}:{number}":
            continue
        folder = ground.folder / "case"
        folder.mkdir()
        case.prepare(folder)
        for command in case.commands:
            status, output = run(command, folder)
            fault = None if status in EXPECTED and "Traceback" not in output else status
            statuses["fault" if fault is not None else f"exit {status}"] += 1
            if fault is not None or only:
                shown = " ".join(word if len(word) < 80 else f"{word[:77]}..." for word in command)  # noqa: PLR2004
                print(
                    f"{family}:{number} {case.name}: exit {status}: harness {shown}\n"
                    f"{output[-1500:]}",
                    flush=True,
                )
        shutil.rmtree(folder)
    if only is None:
        ended = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
        print(
            f"{family}: {number} cases, {statuses.total()} commands in "
            f"{time.monotonic() - began:.0f} s: {ended}",
            flush=True,
        )
    return statuses["fault"]


def run(command: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a command in a forked process; return its exit status (negative: a signal) and output."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            _as_command(command, folder, output.fileno())
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        return status, output.read().decode("utf-8", "replace")


def _as_command(command: Sequence[str], folder: Path, output: int) -> None:
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LIMIT_SECONDS)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
        os.chdir(folder)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        status = cli._status(list(command))  # noqa: SLF001
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 (shown as a fault)
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        status = 1
    os._exit(status)


def plans(count: int, seed: int) -> Iterator[Case]:
    """Yield mutations of a good plan."""
    rng = random.Random(seed)  # noqa: S311
    for _ in range(count):
        text = PLAN.encode()
        for _ in range(rng.randint(1, 3)):
            text = mutated(text, rng)
        verb = rng.choice(
            (
                ["plan", "validate", "p.toml"],
                ["plan", "show", "p.toml"],
                ["run", "p.toml", "--dry-run"],
            )
        )
        yield Case(
            "mutated plan", lambda folder, text=text: (folder / "p.toml").write_bytes(text), [verb]
        )  # type: ignore[misc]


def mutated(text: bytes, rng: random.Random) -> bytes:
    """Return ``text`` with one value, line or byte changed."""
    lines = text.split(b"\n")
    row, kind = rng.randrange(len(lines)), rng.randrange(6)
    if kind <= 2 and b"=" in lines[row]:  # noqa: PLR2004
        key = lines[row].partition(b"=")[0]
        lines[row] = key + b"= " + rng.choice(TOKENS).encode()
    elif kind == 3:  # noqa: PLR2004
        lines.insert(row, rng.choice(lines))
    elif kind == 4:  # noqa: PLR2004
        lines[row] = rng.choice(TOKENS).encode()[:20_000] + b" = 1"
    else:
        at = rng.randrange(len(text))
        return text[:at] + bytes([rng.randrange(256)]) + text[at + rng.randrange(3) :]
    return b"\n".join(lines)


def command_lines(ground: Ground, count: int, seed: int) -> Iterator[Case]:
    """Yield command lines of random options and values; none of them trains."""
    rng = random.Random(seed)  # noqa: S311
    values = [
        *TOKENS, "numpy", "numpy:all", "torch:library", "copy", "char", "lstm", "3,4", "1:8:x2",
        "1:1000000000:1",
        "last~9999999999", "-1", "0", "", ",", "task.copy.symbols=" + "[" * 2000,
        "task.char.corpus=/",
        "task.copy.symbols=" + "9" * 5000,
        str(ground.store), str(ground.plan), ground.trial, "no:numpy", "x=y",
        "postgresql+psycopg://u@127.0.0.1:1/d", "://",
        "sqlite://", "0-3", "4301%", "9" * 400 + "s", "1e9GiB", "\ud800", "a\0b",
    ]  # fmt: skip
    verbs = {name: options_of(name) for name in cli.VERBS}
    for _ in range(count):
        verb = rng.choice(list(verbs))
        words = [*verbs[verb][1]]
        for _ in range(rng.randint(0, 4)):
            words.append(rng.choice(verbs[verb][0]))
            words += [rng.choice(values)] * rng.randint(0, 1)
        words = [word for word in words if "\0" not in word]  # a process cannot be given a NUL
        if verb == "run":
            words.insert(0, "--dry-run")  # at the end it could be the value of an option
        elif verb in LONG:
            words.append("--no-such-option")
        elif "--serve" in words:
            words.remove("--serve")
        yield Case("command line", lambda _: None, [[verb, *words]])


def options_of(verb: str) -> tuple[list[str], list[str]]:
    """Return the options of a verb, and a subcommand if it has any."""
    import click

    from harness.cli.main import command_of

    command = command_of(verb)
    first: list[str] = []
    if isinstance(command, click.Group):
        first = [next(iter(command.commands))]
        command = command.commands[first[0]]
    return [name for option in command.params for name in option.opts if name.startswith("-")] or [
        "--help"
    ], first


def damaged_bytes(ground: Ground, count: int, seed: int) -> Iterator[Case]:
    """Yield the good store with one byte changed, each read by two verbs."""
    rng, content = random.Random(seed), ground.store.read_bytes()  # noqa: S311
    for number in range(count):
        at, byte = rng.randrange(len(content)), rng.randrange(256)
        changed = content[:at] + bytes([byte]) + content[at + 1 :]
        verbs = [READERS[number % len(READERS)], ["store", "check"]]
        yield Case(
            f"byte {at} = {byte}",
            lambda folder, changed=changed: (folder / "s.sqlite").write_bytes(changed),  # type: ignore[misc]
            [reading(verb, ground) for verb in verbs],
        )


def reading(verb: Sequence[str], ground: Ground) -> list[str]:
    """Return a command that reads the case's store."""
    names = {
        "{store}": "s.sqlite",
        "{trial}": ground.trial,
        "{plan}": str(ground.plan),
        "{new}": "new.sqlite",
        "{out}": "o",
    }
    words = [names.get(word, word) for word in verb]
    return words if "{store}" in verb else [*words, "s.sqlite"]


def hostile_stores(ground: Ground, count: int) -> Iterator[Case]:
    """Yield the good store after statements of an attacker or of a broken program."""
    for name, statements in list(hostilities().items())[:count]:

        def prepare(
            folder: Path, statements: Sequence[tuple[str, tuple[object, ...]]] = statements
        ) -> None:
            shutil.copy(ground.store, folder / "s.sqlite")
            with contextlib.closing(sqlite3.connect(folder / "s.sqlite")) as connection:
                for statement, values in statements:
                    connection.execute(statement, values)
                connection.commit()

        yield Case(name, prepare, [reading(verb, ground) for verb in READERS])


def hostilities() -> dict[str, list[tuple[str, tuple[object, ...]]]]:
    """Return name -> SQL statements with their values."""

    def update(table: str, column: str, value: object) -> list[tuple[str, tuple[object, ...]]]:
        return [(f"UPDATE {table} SET {column} = ?", (value,))]  # noqa: S608 (names of our own)

    deep, large = "[" * 100_000 + "]" * 100_000, "9" * 5000
    bomb = zlib.compress(b"[" + b"0," * 40_000_000 + b"0]", 9)
    odd_figures = (
        '{"tokens_per_second": "fast", "peak_memory_bytes": -5, "gradient_horizon": [1], '
        '"solved": "maybe"}'
    )
    process = '{"host": 5, "pid": "x", "began": null}'
    return {
        "deep figures": update("records", "figures", deep),
        "deep details": update("records", "details", '{"a":' * 400 + "1" + "}" * 400),
        "deep trial": update("trials", "content", deep),
        "deep environment": update("environments", "content", '{"cpu":' * 500 + "1" + "}" * 500),
        "huge version": update("meta", "value", large),
        "version of another alphabet": update("meta", "value", "²"),
        "version that is a blob": update("meta", "value", b"\x00\xff"),
        "negative version": update("meta", "value", "-1"),
        "version zero": update("meta", "value", "0"),
        "run settings are a list": update("run_settings", "content", "[]"),
        "run settings are odd": update(
            "run_settings", "content", '{"launches": "many", "wanted": {}, "closed": 3}'
        ),
        "run settings are text": update("run_settings", "content", '"text"'),
        "odd figures": update("records", "figures", odd_figures),
        "huge figures": update("records", "figures", '{"peak_memory_bytes": 1' + "0" * 400 + "}"),
        "figures that Python refuses": update(
            "records", "figures", f'{{"peak_memory_bytes": {large}}}'
        ),
        "figures that are not numbers": update(
            "records", "figures", '{"tokens_per_second": NaN, "loss_final": 1e999}'
        ),
        "unknown figures": update("records", "figures", '{"no_such_figure": 1}'),
        "figures are a list": update("records", "figures", "[1]"),
        "odd details": update(
            "records",
            "details",
            '{"flags": 5, "notes": {"a": 1}, "launches": "x", "samples": [1], "parity": [], '
            '"limits": 3, "task": "t", "versions": 1, "interval": {}, "deviation": [2], '
            '"wall_seconds": "long", "gradient_horizon_censored": 7}',
        ),
        "details are text": update("records", "details", '"text"'),
        "odd environment": update(
            "environments", "content", '{"cpu": 3, "cores": [1], "gpus": "x", "libraries": 5}'
        ),
        "odd status": update("records", "status", "excellent"),
        "status of terminal codes": update("records", "reason", '"\\u001b[31m\\u202e"'),
        "odd times": update("records", "started_at", "yesterday"),
        "times that are numbers": update("runs", "started_at", 5),
        "odd commands": update("runs", "command", "{}"),
        "odd identities": update("identities", "facts", "[1]"),
        "curve of 40 million elements": update("curves", "content", bomb),
        "curves that are no curves": update("curves", "content", zlib.compress(b'{"a": [{}]}')),
        "curves of text": update("curves", "content", "text"),
        "curves cut short": update("curves", "content", zlib.compress(b"[1,2,3]")[:-6]),
        "odd drivers": [
            (
                "INSERT INTO drivers VALUES (7, 1, ?, 'x', 'yesterday', ?)",
                (process, '{"total": "many", "ended": 5}'),
            )
        ],
        "drivers without a process": [
            ("INSERT INTO drivers VALUES (7, 1, '[]', 'x', 'x', '[]')", ())
        ],
        "records whose ids are text": [
            ("PRAGMA writable_schema = ON", ()),
            ("UPDATE records SET launch = 'first', environment_id = 5 WHERE record_id = 1", ()),
        ],
        "a view of records": [
            ("DROP TABLE taken", ()),
            ("ALTER TABLE records RENAME TO hidden", ()),
            (VIEW, ()),
        ],
        "a trigger": [
            ("CREATE TRIGGER forget AFTER INSERT ON records BEGIN DELETE FROM records; END", ())
        ],
        "a trigger of meta": [
            ("CREATE TRIGGER m AFTER INSERT ON meta BEGIN DELETE FROM records; END", ())
        ],
        "a missing table": [("DROP TABLE curves", ()), ("DROP TABLE environments", ())],
        "a foreign table": [
            ("CREATE TABLE notes (a)", ()),
            ("INSERT INTO notes VALUES (x'ff')", ()),
        ],
        "damaged text": [
            ("UPDATE runs SET command = CAST(x'22ff22' AS TEXT)", ()),
            ("UPDATE trials SET cell = CAST(x'ff' AS TEXT)", ()),
        ],
    }


if __name__ == "__main__":
    cli.streams.prepare()
    script.run(main)
