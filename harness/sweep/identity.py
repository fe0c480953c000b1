"""The facts that decide a record in addition to its trial. No engine is imported to learn them.

``python -m harness.sweep.identity`` answers the same question for another harness.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from harness.contract import HarnessError, Trial, UnavailableError
from harness.contract.errors import with_fix
from harness.contract.records.identity import CODE, Identity
from harness.contract.wording import error_text
from harness.execute.interpreters import CHECK_SECONDS, Interpreter, foreign_environment
from harness.execute.process import PYTHON_VARIABLES
from harness.execute.settings import LocalSettings
from harness.measure import REFERENCE_BACKEND
from harness.measure.machine.environment import machine_id
from harness.measure.machine.variables import deciding_variables
from harness.measure.machine.verification import THREAD_VARIABLES
from harness.plugins import Plugins, load_plugins, query
from harness.sweep.sources import digests
from harness.version import __version__

# Libraries set them when they are imported, here and in every worker alike.
SET_ON_IMPORT = ("KMP_DUPLICATE_LIB_OK", "TF_FORCE_GPU_ALLOW_GROWTH")
MACHINE = "machine"
Key = tuple[str, str, str]  # backend, task, cell
Facts = dict[str, str]


def identities(
    trials: Sequence[Trial], plugins: Plugins, settings: LocalSettings
) -> dict[str, Identity]:
    """Return trial_id -> the facts that decide its record.

    They are the versions and digests of all code that it uses, the machine, and the settings.
    """
    shared = _setting_facts(settings)
    software: dict[tuple[str | None, Key], Facts] = {}
    for python in dict.fromkeys(trial.python for trial in trials):
        keys = list(dict.fromkeys(_key(trial) for trial in trials if trial.python == python))
        if python is None:
            facts_of_keys = _here(keys, plugins)
        else:
            facts_of_keys = _elsewhere(keys, settings.pythons[python], plugins.blocked)
        software |= {(python, key): facts for key, facts in zip(keys, facts_of_keys, strict=True)}
    if settings.cluster is not None:  # any of its nodes may measure any launch
        for facts in software.values():
            facts.pop(MACHINE, None)
    return {
        trial.trial_id: Identity(
            {**software[trial.python, _key(trial)], **shared, **_files(trial, plugins)}
        )
        for trial in trials
    }


def plan_digest(identities_of: Mapping[str, Identity]) -> str:
    """Return a digest of a plan: its trials, in any order, and the facts of their records."""
    pairs = sorted(f"{name} {identity.fingerprint}" for name, identity in identities_of.items())
    return hashlib.sha256("\n".join(pairs).encode()).hexdigest()[:16]


def _key(trial: Trial) -> Key:
    return trial.backend, trial.task, trial.cell


def _here(keys: Sequence[Key], plugins: Plugins) -> list[Facts]:
    shared = {"harness": __version__, "python": platform.python_version(), MACHINE: machine_id()}
    shared |= _versions(REFERENCE_BACKEND, plugins)
    return [shared | _software(key, plugins) for key in keys]


def _software(key: Key, plugins: Plugins) -> Facts:
    backend, task, cell = plugins.backend(key[0]), plugins.task(key[1]), plugins.cell(key[2])
    reference = plugins.backend(REFERENCE_BACKEND)
    classes = [*type(backend).__mro__, *task.__mro__, *type(cell).__mro__, *type(reference).__mro__]
    packages = {kind.__module__.partition(".")[0] for kind in classes} - sys.stdlib_module_names
    facts = {CODE + name: digest for name, digest in digests(sorted(packages)).items()}
    for kind, name in zip(("backend", "task", "cell"), key, strict=True):
        facts[f"{kind} {name} from"] = plugins.distribution_of(kind, name)
    return facts | _versions(key[0], plugins)


def _versions(backend: str, plugins: Plugins) -> Facts:
    try:
        return query.versions(plugins.backend(backend))
    except HarnessError as error:
        return {f"versions of {backend}": str(error)}


def _elsewhere(keys: Sequence[Key], python: Interpreter, blocked: Sequence[str]) -> list[Facts]:
    """Ask another interpreter.

    If its harness is too old to answer, its facts are unique, so its trials are measured again.
    """
    question = json.dumps([list(keys), list(blocked)])
    environment = foreign_environment(os.environ)
    command = [str(python.path), "-P", "-m", "harness.sweep.identity"]
    try:
        # A file, because an interpreter that does not read a pipe would end us with SIGPIPE.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as stdin:
            stdin.write(question)
            stdin.seek(0)
            result = subprocess.run(
                command, stdin=stdin, env=environment, capture_output=True, text=True,
                timeout=CHECK_SECONDS, check=True,
            )  # fmt: skip
        answer: list[Facts] = json.loads(result.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        unique = {"harness": python.version, "code of an older harness": uuid.uuid4().hex}
        return [unique for _ in keys]
    return answer


def _setting_facts(settings: LocalSettings) -> Facts:
    """Return the settings and variables that change a record.

    Variables that every worker gets anew are left out.
    """
    anew = {*THREAD_VARIABLES, *PYTHON_VARIABLES, *SET_ON_IMPORT}
    facts = settings.facts()
    for name, value in deciding_variables().items():
        if name not in anew:
            facts[f"variable {name}"] = value
    return facts


def _files(trial: Trial, plugins: Plugins) -> Facts:
    """Return a digest of each file that the trial's task reads."""
    task_class = plugins.task(trial.task)
    try:
        task = task_class(task_class.Options(**trial.task_options), trial.length)
        paths = [Path(path) for path in task.files()]
    except HarnessError:
        raise
    except Exception as error:
        label = plugins.label("task", trial.task)
        problem = f"{label} is broken: files() raised {error_text(error)}"
        raise UnavailableError(with_fix(problem, query.FIX)) from error
    return {f"{CODE}{path}": _digest(path) for path in paths}


def _digest(path: Path) -> str:
    try:
        status = path.stat()
        return _digest_of(path.resolve(), status.st_size, status.st_mtime_ns, status.st_ino)
    except OSError:
        return "unreadable"


@cache
def _digest_of(path: Path, *_state: int) -> str:
    """Read a file once for each of its states: a plan may name a large file in every trial."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def _answer(question: Any) -> None:
    keys, blocked = question
    plugins = load_plugins(blocked)
    print(json.dumps(_here([tuple(key) for key in keys], plugins)))  # noqa: T201 (the parent reads it)


if __name__ == "__main__":
    _answer(json.load(sys.stdin))
