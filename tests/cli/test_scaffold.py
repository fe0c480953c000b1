import os
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from harness.contract import UsageError
from harness.scaffold import create, rendered

KINDS = {
    "backend": "tortoise",
    "task": "echo-twice",
    "cell": "integrator",
    "probe": "dimension",
    "exporter": "tsv",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_has_an_entry_point_a_module_and_a_test(kind, tmp_path):
    package = create(kind, KINDS[kind], tmp_path)
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [(name, module)] = project["entry-points"]["harness"].items()
    assert name == KINDS[kind]
    assert package == tmp_path / project["name"]
    assert (package / module / "__init__.py").is_file()
    assert (package / "tests" / f"test_{module}.py").is_file()


@pytest.mark.parametrize("kind", KINDS)
def test_no_placeholder_is_left_in_a_package(kind):
    assert not [path for path, text in rendered(kind, KINDS[kind]).items() if "$" in path + text]


@pytest.mark.parametrize(
    ("name", "module", "class_name"),
    [
        ("backend", "harness_backend", "BackendBackend"),
        ("My-GPU_v2", "harness_my_gpu_v2", "MyGPUV2Backend"),
        ("none", "harness_none", "NoneBackend"),
    ],
)
def test_any_identifier_gives_code_that_compiles(name, module, class_name):
    files = rendered("backend", name)
    source = files[f"{module}/__init__.py"]
    compile(source, module, "exec")
    assert f"class {class_name}(Backend):" in source
    assert f'name = "{name}"' in source
    compile(files[f"tests/test_{module}.py"], module, "exec")


@pytest.mark.parametrize(
    "name", ["", "../up", "a b", "a.b", "2fast", "-x", "_", "é", "x" * 65, "a\nb"]
)
def test_a_name_that_is_no_identifier_is_refused_and_nothing_is_written(name, tmp_path):
    with pytest.raises(UsageError, match="is not allowed"):
        create("backend", name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("backend", "numpy", "'numpy' is taken: choose another"),
        ("cell", "lstm", "'lstm' is taken: choose another"),
        ("task", "copy", "'copy' is taken: choose another"),
        ("probe", "memory", "'memory' is taken: choose another"),
        ("exporter", "csv", "'csv' is taken: choose another"),
        ("exporter", "png", "'png' is taken: choose another"),
        ("backend", "tasks", "a module harness_tasks is installed already"),
        (
            "plugin",
            "mine",
            "use one of backend, task, cell, probe, exporter",
        ),
    ],
)
def test_a_name_that_is_taken_is_refused(kind, name, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        create(kind, name, tmp_path)


def test_a_folder_with_something_in_it_is_never_touched(tmp_path):
    (tmp_path / "harness-integrator").mkdir()
    (tmp_path / "harness-integrator" / "README.md").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="exists already and is not an empty folder"):
        create("cell", "integrator", tmp_path)
    assert [
        path.read_text(encoding="utf-8") for path in (tmp_path / "harness-integrator").iterdir()
    ] == ["mine"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "harness-integrator").mkdir()
    assert (create("cell", "integrator", tmp_path) / "pyproject.toml").is_file()


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match=r"cannot write .*file.*--directory"):
        create("cell", "integrator", tmp_path / "file")


def run(*command, cwd, **environment):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def python(tmp_path):
    """The interpreter of a new environment that also sees the packages of this one."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    interpreter = tmp_path / "venv" / "bin" / "python"
    purelib = run(
        interpreter, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path
    ).strip()
    line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    (Path(purelib) / "outer.pth").write_text(line, encoding="utf-8")
    return interpreter


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        kind if kind in {"backend", "probe"} else pytest.param(kind, marks=pytest.mark.full)
        for kind in KINDS
    ],
)
def test_a_package_installs_is_found_and_passes_its_tests(kind, python, tmp_path):
    for name in ("pip", "hatchling", "editables"):
        try:
            distribution(
                name
            )  # find_spec("pip") would put away setuptools' distutils for the rest of this process
        except PackageNotFoundError:
            pytest.skip(f"{name} is needed to install without a package index")
    package = create(kind, KINDS[kind], tmp_path)
    options = [
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--quiet",
        "--disable-pip-version-check",
    ]
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        *options,
        "-e",
        package,
        cwd=tmp_path,
    )
    listing = "from harness.plugins import load_plugins; print(load_plugins())"
    assert f"{KINDS[kind]!r}" in run(python, "-c", listing, cwd=tmp_path)
    quiet = {"OMP_NUM_THREADS": "1", "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    assert "passed" in run(python, "-m", "pytest", "-q", cwd=package, **quiet)
