"""The house: who may name what, and who may import whom."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import paths

ROOT = paths.ROOT
CORE = sorted((ROOT / "harness").rglob("*.py"))
FRAMEWORKS = re.compile(r"\b(torch|jax|cuda|tensorflow|keras)\b")
# "torch" is also the field's name for a convention (parameter names, shapes, an initialisation),
# quoted or in prose.
CONVENTION = re.compile(
    r"``torch\.(nn|optim)[^`]*``|torch\.(nn|optim)|\"torch\"|torch \(uniform\)|``torch``"
)


def code_without_docstrings(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            node.value.value = ""
    return ast.unparse(tree)


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_names_no_framework(path):
    code = code_without_docstrings(path)
    code = re.sub(r"(scheme|initialisation|Literal)[^\n]*['\"]torch['\"][^\n]*", "", code)
    if path.name == "options.py":  # the help of --backend and --initialisation may show an example
        code = CONVENTION.sub("", code)
    assert not FRAMEWORKS.findall(code.replace('"torch"', "").replace("'torch'", ""))


LAYERS = ("contract", "cells", "measure", "sweep", "cli")


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        (
            "harness/contract",
            (
                "harness.cells",
                "harness.measure",
                "harness.sweep",
                "harness.cli",
                "harness.plugins.discovery",
            ),
        ),
        (
            "harness/cells",
            ("harness.measure", "harness.sweep", "harness.cli", "harness.plugins.discovery"),
        ),
        ("harness/measure", ("harness.sweep", "harness.cli", "harness_")),
        ("harness/sweep", ("harness.cli", "harness_")),
        (
            "backends",
            ("harness.sweep", "harness.cli", "harness.measure", "harness_results", "harness_tasks"),
        ),
        (
            "tasks",
            ("harness.sweep", "harness.cli", "harness.measure", "harness_results", "harness_numpy"),
        ),
        (
            "results",
            ("harness.sweep", "harness.cli", "harness.measure", "harness_numpy", "harness_tasks"),
        ),
    ],
)
def test_imports_go_one_way(package, forbidden):
    for path in sorted((ROOT / package).rglob("*.py")):
        wrong = [name for name in imported(path) if name.startswith(forbidden)]
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_only_the_command_line_imports_the_command_line():
    for path in CORE:
        if path.parent.name != "cli" and path.name != "__main__.py":
            assert not [name for name in imported(path) if name.startswith("harness.cli")], path


def modules_after(arguments: list[str]) -> set[str]:
    code = (
        "import sys\nfrom harness.cli.main import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('MODULES', *{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split("MODULES")[1].split())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["list", "backends"], ["--version"], ["run", "--help"]]
)
def test_quick_verbs_import_nothing_heavy(arguments):
    assert not modules_after(arguments) & {
        "torch",
        "jax",
        "jaxlib",
        "flax",
        "haiku",
        "equinox",
        "keras",
        "pandas",
        "scipy",
        "sqlalchemy",
        "ray",
        "altair",
        "vl_convert",
    }


def test_no_pickle_is_ever_loaded():
    for shelf in ("harness", "backends", "tasks", "results"):
        for path in (ROOT / shelf).rglob("*.py"):
            assert not imported(path) & {
                "pickle",
                "cloudpickle",
                "dill",
                "joblib",
                "marshal",
                "shelve",
            }
