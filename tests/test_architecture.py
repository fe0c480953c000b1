"""The rooms of the library: who may import whom, how large they are, which names they use."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import paths
from import_graph import assert_no_circle, bindings, files, import_graph, imported_names, tree_of

FRAMEWORKS = re.compile(r"\b(torch|jax|cuda|tensorflow|keras)\b")
# "torch" is also the field's name for a convention (parameter names, shapes, an initialisation),
# quoted or in prose.
CONVENTION = re.compile(
    r"``torch\.(nn|optim)[^`]*``|torch\.(nn|optim)|\"torch\"|torch \(uniform\)|``torch``"
)

# Room -> the rooms that it may import; every other arrow is an error. "sweep" is harness.sweep,
# "results" harness_results, "backends.jax" harness_jax. A module belongs to the longest name here.
ARROWS = {
    "harness": "api version",
    "__main__": "cli",
    "version": "",
    "contract": "",
    "cells": "contract",
    "probes": "contract",
    "recurrence": "contract",
    "plugins": "contract",
    "measure.machine": "contract plugins",
    "measure.timing": "contract plugins",
    "measure.proof": "contract cells plugins recurrence",
    "measure": "contract plugins version measure.machine measure.proof measure.timing",
    "hidden_units": "contract cells plugins recurrence measure",
    "probing": "contract cells plugins recurrence measure",
    "plan": "contract plugins measure",
    "execute": "contract plugins measure measure.machine measure.timing",
    "execute.ray": "contract plugins version measure execute",
    "sweep": "contract plugins version measure measure.machine measure.proof plan execute probing"
    " execute.ray results.store results.study results.text",
    "api": "contract plugins measure measure.proof hidden_units plan sweep results",
    "testing": "contract cells plugins probing recurrence measure measure.proof measure.timing",
    "scaffold": "contract plugins",
    "cli": "contract plugins recurrence version measure measure.machine hidden_units plan execute"
    " sweep api testing scaffold results.store results.study results.text"
    " results.compare results.published results.render results.charts results.exporters"
    " results.page results.profile results.serving",
    "tasks": "contract",
    "backends.native": "contract recurrence",
    "backends.numpy": "contract recurrence backends.native",
    "backends.torch": "contract cells recurrence backends.native",
    "backends.jax": "contract recurrence backends.native",
    "backends.peers": "contract backends.jax",
    "backends.equinox": "contract cells backends.jax backends.peers",
    "backends.flax": "contract cells backends.jax backends.peers",
    "backends.haiku": "contract cells backends.jax backends.peers",
    "backends.keras": "contract cells backends.jax backends.torch backends.peers",
    "results.text": "contract",
    "results.store": "contract version results.text",
    "results.study": "contract cells plugins results.store results.text",
    "results.published": "contract results.study results.text",
    "published": "contract",
    "results.compare": "contract results.study results.store results.text",
    "results.profile": "contract results.study results.text",
    "results.render": "contract results.study results.store results.text",
    "results.charts": "contract results.study results.text",
    "results.exporters": "contract results.study results.store results.text",
    "results.page": "contract results.charts results.profile results.render results.study"
    " results.text",
    "results.serving": "contract results.page results.store results.text",
    "results": "contract plugins results.charts results.page results.render results.store"
    " results.study",
}
MOST_MODULES = 15  # in a folder, __init__ not counted
LARGER: dict[str, tuple[int, str]] = {}  # folder -> (its modules, the reason)


def room_of(module: str) -> str:
    name = module.removeprefix("harness.")
    name = re.sub(r"^harness_(results|tasks|published)\b", r"\1", name)
    name = name.replace("harness_", "backends.", 1)
    while name not in ARROWS:
        name = name.rpartition(".")[0]
        assert name, f"no room for {module}"
    return name


def test_no_module_imports_itself_through_others():
    assert_no_circle(import_graph())


def test_imports_follow_the_arrows():
    wrong = []
    for module, targets in import_graph().items():
        room = room_of(module)
        allowed = {room, *ARROWS[room].split()}
        wrong += [f"{module} -> {target}" for target in targets if room_of(target) not in allowed]
    assert sorted(wrong) == []


def test_every_arrow_of_the_table_is_used():
    used = {
        (room_of(module), room_of(target))
        for module, targets in import_graph().items()
        for target in targets
    }
    arrows = [(room, target) for room, targets in ARROWS.items() for target in targets.split()]
    assert [arrow for arrow in arrows if arrow not in used] == []


def test_rooms_import_in_one_direction():
    arrows = {room: set(targets.split()) for room, targets in ARROWS.items()}
    assert_no_circle(arrows)


def test_no_folder_has_too_many_modules():
    sizes = Counter(str(path.parent.relative_to(paths.ROOT)) for path in files())
    for folder in sizes:
        sizes[folder] -= (paths.ROOT / folder / "__init__.py").exists()
    large = {folder: size for folder, size in sizes.items() if size > MOST_MODULES}
    assert large == {folder: size for folder, (size, _) in LARGER.items()}


def code_without_docstrings(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                node.value.value = ""
    return ast.unparse(tree)


def test_the_core_names_no_framework():
    core = [path for path in files() if path.is_relative_to(paths.ROOT / "harness")]
    assert len(core) > 100
    for path in core:
        code = code_without_docstrings(path)
        code = re.sub(r"(scheme|initialisation|Literal)[^\n]*['\"]torch['\"][^\n]*", "", code)
        if "options" in path.parts or path.name == "columns.py":  # prose about a convention
            code = CONVENTION.sub("", code)
        code = code.replace('"torch"', "").replace("'torch'", "")
        assert not FRAMEWORKS.findall(code), path


def test_no_pickle_is_ever_loaded():
    unsafe = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    for path in files():
        packages = {name.partition(".")[0] for name in imported_names(path)}
        assert not packages & unsafe, path


def modules_after(arguments: list[str]) -> set[str]:
    code = (
        "import sys\nfrom harness.cli.main import main\n"
        f"try:\n    main({arguments!r})\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "print('MODULES', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split("MODULES")[1].split())


HEAVY = "torch jax jaxlib flax haiku equinox keras pandas scipy sqlalchemy ray altair vl_convert"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["list", "backends"], ["--version"], ["run", "--help"]]
)
def test_quick_verbs_import_nothing_heavy(arguments):
    modules = modules_after(arguments)
    assert not {name.partition(".")[0] for name in modules} & set(HEAVY.split())
    assert "harness.recurrence" not in modules  # no cell is traced


# Names that say nothing about a value, and names that the glossary replaced.
EMPTY = "found one ones told known place thing made had given"
REPLACED = (
    "standing standings bury beat taken agenda sweeping answers keeper honesty concerns draft pace"
    " described remade places card cards cure Place Taken Agenda Sweeping Standing Keeper Concern"
    " Draft Pace Spread Chain Shown Tone KEPT Places CURE"
)


def test_names_say_what_they_name():
    forbidden = {*EMPTY.split(), *REPLACED.split()}
    wrong = []
    for path in [*files(), *sorted((paths.BENCHMARKS).rglob("*.py"))]:
        for name, line in bindings(tree_of(path)):
            if name in forbidden:
                wrong.append(f"{path.relative_to(paths.ROOT)}:{line}: {name}")
    assert sorted(set(wrong)) == []
