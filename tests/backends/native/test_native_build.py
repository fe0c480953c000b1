"""Building the kernel: which compiler, into which file, and what happens if it fails."""

import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec

import pytest

from harness.cells import LSTM
from harness.contract import (
    Execution,
    Inputs,
    Missing,
    Model,
    Optimizer,
    Trial,
    UnavailableError,
    UnknownNameError,
    UnsupportedError,
)
from harness.measure.runner import run_trial
from harness.plan.expand import expand_with_notes
from harness.plan.request import PlanRequest
from harness.plugins import load_plugins
from harness_jax.backend import JaxBackend
from harness_native import build as building
from harness_native import build_native, xla_recipe
from harness_native.build import KERNEL, Recipe, build, compiled_by, missing
from harness_native.compiler import Compiler, compilers
from harness_numpy import NumpyBackend
from harness_torch.backend import TorchBackend
from native_cells import TooWide

PEERS = ("flax", "haiku", "equinox", "keras")
BACKENDS = tuple(
    backend
    for backend in (NumpyBackend(), TorchBackend(), JaxBackend())
    if not isinstance(backend.availability(), Missing)
)
each_backend = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
SMALL = Model(LSTM(), Inputs("token", 3), hidden=2, layers=1, outputs=3, loss="cross_entropy")
FAILING = "sys.stderr.write('broken'); sys.exit(1)"
WORKING = "open(sys.argv[-1], 'w').write('built')"
CALLED = "open(sys.argv[0] + '.calls', 'a').write('x'); "


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """An empty cache, and no compiler except the one that a test names."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("harness_native.compiler.PACKAGE", "no-such-package")
    return tmp_path


@pytest.fixture
def compiler(elsewhere, monkeypatch):
    """Make $CC a script of Python; return how often it was called to compile."""

    def named(code, name="fake"):
        path = elsewhere / name
        path.write_text(
            f"#!{sys.executable}\nimport os, sys, time\nif sys.argv[-1] == '--version':\n"
            f"    print('{name} version 7.{len(name)}.0'); sys.exit()\n{CALLED}{code}\n"
        )
        path.chmod(0o755)
        monkeypatch.setenv("CC", str(path))
        return path

    return named


@pytest.fixture
def next_process(monkeypatch):
    """Return a function that forgets the failed builds of this process."""
    return lambda: monkeypatch.setattr(building, "_problems", {})


def calls(path):
    return len(path.with_suffix(".calls").read_text()) if path.with_suffix(".calls").exists() else 0


def trial(backend):
    return Trial(backend=backend.name, variant="any", task="char", cell="lstm", length=64)


@each_backend
def test_without_a_compiler_the_variant_is_missing_with_the_fix(elsewhere, backend):
    assert "native" not in backend.variants(LSTM())
    assert "no C compiler" in backend.missing_variants()["native"].reason
    assert "rnn-harness[native]" in backend.missing_variants()["native"].fix
    assert "native" not in backend.versions()
    with pytest.raises(UnavailableError, match="no C compiler"):
        build()


@each_backend
def test_the_fastest_is_another_where_the_kernel_cannot_be_built(compiler, backend):
    fake = compiler(FAILING)
    assert "native" in backend.variants(LSTM())
    chosen = backend.fastest_variant(LSTM(), trial(backend))
    assert chosen != "native"
    assert chosen in backend.variants(LSTM())
    assert "broken" in backend.missing_variants()["native"].reason
    assert backend.fastest_variant(LSTM(), trial(backend)) == chosen
    assert calls(fake) == 1


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_a_plan_notes_once_that_the_kernel_could_not_be_built_for_all_that_would_have_taken_it(
    compiler,
):
    compiler("sys.stderr.write('broken\\n\\nin two lines'); sys.exit(1)")
    axes = {
        "backend": ["numpy:fastest", "torch:fastest", "jax"],
        "task": ["copy"],
        "length": [64, 128],
        "steps": [1000],
    }
    plugins = load_plugins(block=PEERS)
    trials, (note,) = expand_with_notes(PlanRequest(axes), plugins)
    assert "native" not in {trial.variant for trial in trials}
    assert note.startswith(
        "native is not available to numpy, torch, so trials that would have taken it run as "
        "another variant: the C "
    )
    assert re.search(r"broken in two lines\. Fix: set \$CC to another", note)
    assert expand_with_notes(PlanRequest(axes), plugins)[1] == []


@pytest.mark.parametrize("verb", [("run", "--dry-run"), ("plan", "validate")])
def test_the_command_line_notes_that_the_kernel_could_not_be_built_and_goes_on(
    compiler, elsewhere, verb
):
    compiler(FAILING)
    (elsewhere / "plan.toml").write_text(
        '[matrix]\ntask = "copy"\ncell = "lstm"\nlength = [64, 128]\nsteps = 1000\n'
    )
    code = (
        "import harness_native.compiler; from harness.cli.main import main; "
        f"harness_native.compiler.PACKAGE = 'no-such-package'; main({[*verb, 'plan.toml']!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (note,) = (line for line in done.stderr.splitlines() if "native" in line)
    assert note.startswith(
        "note: native is not available to numpy, so trials that would have taken it run as "
        "another variant: the C "
    )
    assert ":native" not in done.stdout


@each_backend
def test_the_fastest_is_native_where_it_was_built(compiler, backend):
    fake = compiler(WORKING)
    assert backend.fastest_variant(LSTM(), trial(backend)) == "native"
    assert calls(fake) == (3 if backend.name == "jax" else 2)  # with the cell


@each_backend
def test_asking_what_there_is_builds_nothing_and_leaves_nothing(compiler, backend, elsewhere):
    fake = compiler(WORKING)
    assert "native" in backend.variants(LSTM())
    assert "native" not in backend.missing_variants()
    assert backend.versions()["native"] == "7.4.0 (fake version 7.4.0)"
    assert calls(fake) == 0
    assert not (elsewhere / "cache").exists()


@each_backend
def test_a_variant_that_cannot_be_had_here_is_refused_with_the_fix(elsewhere, backend):
    with pytest.raises(
        UnavailableError, match=r"native cannot run here: there is no C compiler\. Fix: pip install"
    ):
        backend.trainer(SMALL, Optimizer(), {}, Execution("native"))


@each_backend
def test_a_trainer_of_a_variant_that_cannot_be_built_is_refused_with_the_fix(compiler, backend):
    fake = compiler(FAILING)
    with pytest.raises(
        UnavailableError, match=rf"{backend.name}:native cannot run here: the C compiler failed"
    ):
        backend.trainer(SMALL, Optimizer(), {}, Execution("native"))
    assert calls(fake) == 1


@each_backend
def test_a_cell_that_the_kernel_lacks_is_refused_without_building(compiler, backend):
    fake = compiler(FAILING)
    refusal = "'native'|the kernel takes up to 32 gates"
    with pytest.raises((UnknownNameError, UnsupportedError), match=refusal):
        backend.trainer(replace(SMALL, cell=TooWide()), Optimizer(), {}, Execution("native"))
    assert calls(fake) == 0


@each_backend
def test_a_trial_of_a_variant_that_cannot_be_built_is_unsupported_with_the_fix(compiler, backend):
    fake = compiler(FAILING)
    trial = Trial(
        backend=backend.name,
        variant="native",
        task="copy",
        cell="lstm",
        length=5,
        hidden=4,
        batch=2,
        steps=2,
    )
    *_, finished = run_trial(trial, plugins=load_plugins(block=PEERS))
    assert finished.record.status == "unsupported"
    assert finished.record.reason.startswith(
        f"{backend.name}:native cannot run here: the C compiler failed"
    )
    assert "broken. Fix: set $CC to another" in finished.record.reason
    assert calls(fake) == 1


def test_a_compiler_that_fails_is_asked_once(compiler, next_process):
    fake = compiler(FAILING)
    for _ in range(3):
        with pytest.raises(UnavailableError, match="broken"):
            build()
        next_process()
    assert calls(fake) == 1
    assert "to try again): " in missing().reason
    assert compiled_by() is None


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("os.kill(os.getpid(), 9)", "status -9"),
        ("time.sleep(60)", "timed out"),
        ("sys.exit(0)", "No such file"),
    ],
    ids=["killed", "slow", "without a result"],
)
def test_what_may_pass_is_remembered_by_its_process_alone(
    code, told, compiler, next_process, monkeypatch
):
    fake = compiler(code)
    monkeypatch.setattr(building, "TIMEOUT_SECONDS", 0.5)
    for _ in range(2):
        with pytest.raises(UnavailableError, match=told):
            build()
    assert told in missing().reason
    assert calls(fake) == 1
    next_process()
    assert missing() is None


def test_where_cc_names_what_fails_the_fix_is_to_name_another(compiler, monkeypatch):
    fake = compiler("sys.exit(3)")
    monkeypatch.setenv("CC", str(fake))
    with pytest.raises(
        UnavailableError, match=r"ended with status 3\. Fix: set \$CC to another C compiler"
    ):
        build()


def test_a_full_disk_makes_it_unavailable(compiler, monkeypatch):
    compiler(WORKING)

    def full(**_where):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(building.tempfile, "TemporaryDirectory", full)
    with pytest.raises(UnavailableError, match="No space left"):
        build()
    assert not build_native(LSTM())


def test_without_a_folder_of_ones_own_it_is_missing(compiler, elsewhere, monkeypatch):
    compiler(WORKING)
    (elsewhere / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(elsewhere / "file"))
    monkeypatch.setattr("harness_native.cache.tempfile.gettempdir", lambda: str(elsewhere / "file"))
    assert missing() is None
    with pytest.raises(UnavailableError, match=r"no folder for compiled code(.|\n)*XDG_CACHE_HOME"):
        build()
    assert "no folder" in missing().reason


def test_a_compiler_that_fails_where_another_process_has_built_is_no_failure(compiler):
    """The second writes what the first made meanwhile, then fails."""
    code = "os.environ['TARGET'] and open(os.environ['TARGET'], 'w').write('built'); " + FAILING
    fake = compiler(code)
    [(_, name)] = building._attempts(KERNEL)
    target = building.private_folder("native") / name
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TARGET", str(target))
        assert build() == target
    assert calls(fake) == 1
    assert [path.name for path in target.parent.iterdir()] == [name]


def test_a_library_that_is_there_counts_in_spite_of_a_failure(compiler):
    compiler(FAILING)
    with pytest.raises(UnavailableError):
        build()
    [(_, name)] = building._attempts(KERNEL)
    target = building.private_folder("native") / name
    assert target.with_suffix(".failed").exists()
    target.write_text("built")
    assert build() == target
    assert missing() is None
    assert compiled_by() == "7.4.0 (fake version 7.4.0)"


def test_several_builds_at_once_end_in_one_library(compiler):
    compiler("time.sleep(0.2); " + WORKING)
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: build(), range(4)))
    (path,) = paths
    assert path.read_text() == "built"
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_the_next_compiler_is_taken_and_named_where_the_first_fails(compiler, monkeypatch):
    working = Compiler((str(compiler(WORKING, "working")),), "working")
    failing = Compiler((str(compiler(FAILING, "failing")),), "failing")
    monkeypatch.setattr(building, "compilers", lambda: (failing, working))
    assert compiled_by() == "7.7.0 (failing version 7.7.0)"
    assert build().read_text() == "built"
    assert compiled_by() == "7.7.0 (working version 7.7.0)"


@pytest.mark.skipif(find_spec("jaxlib") is None, reason="no jaxlib here")
def test_a_trainer_of_jax_builds_the_shim_too_before_anything_else(compiler):
    compiler(f"sys.argv[-3].endswith('xla.c') and sys.exit('odd headers'); {WORKING}")
    with pytest.raises(
        UnavailableError, match=r"jax:native cannot run here: the C compiler failed.*odd headers"
    ):
        JaxBackend().trainer(SMALL, Optimizer(), {}, Execution("native"))


@pytest.mark.skipif(find_spec("jaxlib") is None, reason="no jaxlib here")
def test_a_shim_that_cannot_be_built_is_missing_in_jax_alone(compiler):
    compiler(f"sys.argv[-3].endswith('xla.c') and sys.exit('odd headers'); {WORKING}")
    assert build_native(LSTM())
    assert not build_native(LSTM(), xla_recipe())
    assert "odd headers" in JaxBackend().missing_variants()["native"].reason
    assert "native" not in JaxBackend().variants(LSTM())
    assert "native" in NumpyBackend().variants(LSTM())


def test_a_header_that_is_not_there_is_missing(compiler, tmp_path):
    compiler(WORKING)
    recipe = Recipe("xla.c", str(tmp_path), "xla/ffi/api/c_api.h")
    assert "c_api.h" in missing(recipe).reason
    with pytest.raises(UnavailableError, match=r"c_api\.h"):
        build(recipe)


def test_another_source_flag_compiler_or_cpu_is_another_library(compiler, monkeypatch):
    compiler(WORKING)
    [first] = compilers()
    newer = Compiler(first.command, "a newer one")

    def name(recipe=KERNEL, compiler=first):
        return building._name(recipe, recipe.digest(), compiler)

    names = [
        name(),
        name(Recipe("xla.c")),
        name(Recipe("kernel.c", flags=("-g",))),
        name(compiler=newer),
    ]
    monkeypatch.setattr(building, "cpu", lambda: "another")
    names.append(name())
    assert len(set(names)) == 5


def test_the_place_of_sources_and_of_python_makes_no_other_library(compiler, monkeypatch, tmp_path):
    compiler(WORKING)
    [first] = compilers()
    elsewhere = Compiler(("/another/python", "-m", "ziglang", "cc"), first.identity)
    before = building._name(KERNEL, KERNEL.digest(), first)
    for path in building.SOURCES.glob("*.[ch]"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(building, "SOURCES", tmp_path)
    assert building._name(KERNEL, KERNEL.digest(), elsewhere) == before
    (tmp_path / "pool.h").write_text("other")
    assert building._name(KERNEL, KERNEL.digest(), first) != before


def test_the_library_lies_where_this_user_alone_can_write(compiler, elsewhere):
    compiler(WORKING)
    folder = build().parent
    assert folder == elsewhere / "cache" / "rnn-harness" / "native"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
