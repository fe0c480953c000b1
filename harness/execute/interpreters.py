"""Other Python interpreters, each with its own harness, framework versions and plugins."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.contract import Trial, UsageError
from harness.contract.wording import NAME_PATTERN

CHECK_SECONDS = 60.0
OWN_VARIABLES = ("PYTHONPATH", "PYTHONHOME")  # they name the packages of one interpreter
_QUESTION = """
import dataclasses, harness, harness.measure.worker, json
from harness.measure.runner import Settings
print(json.dumps([harness.__version__, [field.name for field in dataclasses.fields(Settings)]]))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python that can run the harness's worker.

    Attributes:
        name: in the plan.
        path: of its program.
        version: of its harness.
        settings: names of the fields of ``harness.measure.runner.Settings`` that its worker has.
    """

    name: str
    path: Path
    version: str
    settings: frozenset[str]

    def need(self, setting: str, option: str) -> None:
        """Check that its worker understands ``setting``, for which the user gave ``option``.

        Raises:
            UsageError: its harness is too old for that.
        """
        if setting not in self.settings:
            update = f"{self.path} -m pip install -U rnn-harness"
            raise UsageError(
                f"--python {self.name}={self.path}: its harness ({self.version}) does not know "
                f"{option}; update it ({update}), or leave {option} out"
            )


def read_interpreters(settings: Sequence[str]) -> dict[str, Interpreter]:
    """Return name -> interpreter of ``NAME=PATH`` settings. Each interpreter is run once.

    Raises:
        UsageError: a setting is malformed, a name is used twice, or a path is not a Python with a
            harness; all problems at once.
    """
    interpreters: dict[str, Interpreter] = {}
    errors = []
    for setting in settings:
        name, equals, path = setting.partition("=")
        if not (equals and path and NAME_PATTERN.fullmatch(name)):
            example = "base=venvs/base/bin/python"
            errors.append(f"--python {setting!r}: write NAME=PATH, as in {example}")
        elif name in interpreters:
            errors.append(f"--python names {name!r} twice: give each interpreter another name")
        else:
            try:
                interpreters[name] = _asked(name, Path(path))
            except UsageError as error:
                errors.append(str(error))
    if errors:
        raise UsageError("\n".join(errors))
    return interpreters


def with_interpreters(
    trials: Sequence[Trial], interpreters: Mapping[str, Interpreter]
) -> list[Trial]:
    """Return each trial once per interpreter; unchanged trials if there are no interpreters."""
    if not interpreters:
        return list(trials)
    return [trial.model_copy(update={"python": name}) for trial in trials for name in interpreters]


def foreign_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for another interpreter, which must find its own packages."""
    return {name: value for name, value in environment.items() if name not in OWN_VARIABLES}


def _asked(name: str, path: Path) -> Interpreter:
    absolute = path.expanduser().absolute()  # an environment's python is a link: do not resolve it
    setting = f"--python {name}={path}"
    try:
        result = subprocess.run(
            [str(absolute), "-P", "-c", _QUESTION],
            capture_output=True,
            text=True,
            timeout=CHECK_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env=foreign_environment(os.environ),
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or f"no answer within {CHECK_SECONDS:g} s"
        fix = "give the path of a Python, as in venv/bin/python"
        raise UsageError(f"{setting}: cannot be run: {reason}; {fix}") from error
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        install = f"{path} -m pip install rnn-harness"
        raise UsageError(f"{setting}: no harness works in it ({last}); install one: {install}")
    try:
        version, settings = json.loads(result.stdout.splitlines()[-1])
        return Interpreter(name, absolute, str(version), frozenset(map(str, settings)))
    except (ValueError, TypeError, IndexError) as error:
        problem = f"{setting}: it does not answer as a Python does"
        raise UsageError(f"{problem}; give the path of one") from error
