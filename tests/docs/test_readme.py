"""README: its length, its commands (each runs here in a short form), pictures, how to cite."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from datetime import date
from importlib.util import find_spec

import pytest

import paths
from harness import __version__

ROOT = paths.ROOT
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [  # of commands, each as its words
    [shlex.split(part) for part in re.split(r"&&|\n", block.strip())]
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
]
COMMANDS = [words for block in BLOCKS for words in block]
SHORT = shlex.split("-T 12 --steps 4 --hidden 8 --batch 4 --fast --isolation backend")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def program(words):
    """Return the program of a command, without the folder of a virtual environment."""
    return words[0].rpartition("/")[2]


def test_the_readme_has_700_to_900_words():
    assert 700 <= len(README.split()) <= 900


def test_every_command_is_of_a_program_that_a_test_here_knows():
    assert {program(words) for words in COMMANDS} == {"python3", "pip", "tox", "harness"}


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: " ".join(block[-1]))
def test_a_block_of_commands_runs(block, tmp_path, monkeypatch):
    for words in block:
        if program(words) == "pip":
            check_installation(words, tmp_path)
            install(tmp_path, monkeypatch)
        elif program(words) == "harness":
            if "torch" in " ".join(words) and find_spec("torch") is None:
                pytest.skip("PyTorch is not installed")
            run(words[1:], tmp_path)


def install(folder, monkeypatch):
    """Make the packages of a folder importable, as ``pip install -e`` would."""
    for path in folder.iterdir():
        module = path.name.replace("-", "_")
        metadata = path / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {path.name}\n")
        points = tomllib.loads((path / "pyproject.toml").read_text())["project"]["entry-points"]
        lines = [f"{name} = {target}" for name, target in points["harness"].items()]
        (metadata / "entry_points.txt").write_text("\n".join(["[harness]", *lines]))
        monkeypatch.setenv("PYTHONPATH", str(path), prepend=os.pathsep)


def run(arguments, folder):
    """Run ``harness`` as README says; a training is short."""
    if arguments[0] == "run":
        if "--launches" in arguments:
            at = arguments.index("--launches")
            arguments = arguments[:at] + arguments[at + 2 :]
        arguments = [*arguments, *SHORT]
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def check_installation(words, folder):
    """Check that a ``pip install`` names packages, extras and files that exist."""
    for word in words[2:]:
        extras = re.fullmatch(r"\.\[([\w,]+)\]", word)
        if extras:
            assert set(extras[1].split(",")) <= set(EXTRAS)
        elif word.startswith("constraints/"):
            assert (ROOT / word).exists()
        elif word.startswith("./"):
            assert (folder / word / "pyproject.toml").exists()
        else:
            assert word in {".", "tox", "-e", "-c", "--quiet"}


def test_the_second_command_is_what_ci_runs():
    [steps] = [block for block in BLOCKS if program(block[-1]) == "tox"]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    plain = script.replace("$tools/venv", ".venv").replace("tox>=4.20", "tox")
    lines = [line.replace('"', "").split() for line in plain.splitlines()]
    assert [line for line in lines if line in steps] == steps
    assert lines[-1] == steps[-1]


def test_pictures_are_here_and_small_and_have_a_text():
    shown = re.findall(r'(?:src|srcset)="([^"]+)"', README)
    assert len(shown) >= 3
    for path in shown:
        assert 0 < (ROOT / path).stat().st_size < 300_000
    assert len(re.findall(r'<img [^>]*alt="[^"]{40,}"', README)) == README.count("<img ")


def test_the_citation_names_this_version():
    yaml = pytest.importorskip("yaml")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert str(citation["version"]) == __version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.search(rf"^## \[{re.escape(__version__)}\] - (\S+)$", changes, re.MULTILINE)[1]
    dated = citation.get("date-released")
    assert dated == (None if released == "unreleased" else date.fromisoformat(released))
