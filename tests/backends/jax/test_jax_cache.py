"""Programs of the proof are cached between processes; the timed training step never is."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from harness.cells import RNN
from harness.contract import Execution, Inputs, Model, Optimizer

pytest.importorskip("jax", reason="jax is not installed")
pytest.importorskip("optax", reason="optax is not installed")
from harness_jax import JaxBackend
from harness_jax import cache as cache_module

TRAIN_AND_TELL = """
import json, sys
import jax
import numpy as np
from harness.cells import RNN
from harness.contract import Batch, Execution, Inputs, Model, Optimizer
from harness_jax import JaxBackend

found, compiled = [], []
jax.monitoring.register_event_listener(lambda event, **_: found.append(event))
model = Model(RNN(), Inputs("token", 5), 3, 1, 5, "cross_entropy")
weights = {name: np.zeros(shape) for name, shape in model.parameter_shapes().items()}
trainer = JaxBackend().trainer(model, Optimizer(), weights, Execution("fused"))
batch = trainer.put(Batch(np.ones((4, 2), int), np.ones((4, 2), int), np.ones((4, 2), bool)))
told = {}
for name in sys.argv[1].split(","):
    del found[:]
    call = getattr(trainer, name)
    call(batch)
    told[name] = [event.rpartition("/")[2] for event in found if "compilation_cache/cache" in event]
print(json.dumps(told))
"""


def told(variables, names):
    """Return the events of JAX's cache by method, from a new process that calls each in turn."""
    command = [sys.executable, "-W", "error", "-c", TRAIN_AND_TELL, ",".join(names)]
    done = subprocess.run(
        command, env=os.environ | variables, capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(done.stdout)


@pytest.fixture(autouse=True)
def new_process():
    """A process that has not looked at its cache yet."""
    cache_module.bound_cache.cache_clear()
    yield
    cache_module.bound_cache.cache_clear()


@pytest.fixture
def variables(tmp_path, monkeypatch):
    """The variables that the JAX backend sets for a worker; the user's cache is empty."""
    monkeypatch.delenv(cache_module.FOLDER, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return JaxBackend().environment(1)


@pytest.mark.slow
def test_the_second_process_reads_the_programs_of_the_proof_and_compiles_the_timed_step(variables):
    methods = ("gradients", "compile", "train_step", "outputs")
    first, second = told(variables, methods), told(variables, methods)
    assert "cache_misses" in first["gradients"]
    assert "cache_misses" in first["outputs"], (
        "the cache is used again after a step was compiled without it"
    )
    assert set(second["gradients"]) == set(second["outputs"]) == {"cache_hits"}
    assert first["compile"] == second["compile"] == [], "neither read nor written"


@pytest.mark.slow
def test_a_bound_that_the_user_has_set_for_other_folders_stops_nothing_from_being_kept(
    variables, monkeypatch
):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_MAX_SIZE", "1000000")
    told(variables, ("gradients",))
    assert set(told(variables, ("gradients",))["gradients"]) == {"cache_hits"}
    assert not [
        path
        for path in Path(variables[cache_module.FOLDER]).iterdir()
        if path.name.endswith("-atime")
    ]


@pytest.mark.slow
def test_a_step_that_is_not_timed_is_kept(variables):
    told(variables, ("train_step",))
    assert "cache_misses" not in told(variables, ("train_step",))["train_step"]


def test_a_folder_that_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv(cache_module.FOLDER, "mine")
    assert cache_module.FOLDER not in JaxBackend().environment(1)


def test_without_a_folder_of_ones_own_there_is_no_cache(monkeypatch):
    def refuse(name):
        raise cache_module.UnavailableError(name)

    monkeypatch.delenv(cache_module.FOLDER, raising=False)
    monkeypatch.setattr(cache_module, "private_folder", refuse)
    assert cache_module.FOLDER not in JaxBackend().environment(1)


def test_programs_that_were_not_used_for_longest_go_first(filled):
    """Reading counts as use."""
    trained()
    assert {path.name for path in filled.iterdir()} == {"2", "3", "4", "read"}


def test_a_process_looks_at_the_cache_once(filled):
    trained()
    (filled / "later").write_bytes(bytes(1000))
    trained()
    assert (filled / "later").exists()


@pytest.mark.parametrize("folder", ["mine", None])
def test_a_cache_of_the_users_is_not_touched_and_none_is_made(tmp_path, monkeypatch, folder):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "0").write_bytes(bytes(100))
    monkeypatch.setattr(cache_module, "MOST_BYTES", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(cache_module.FOLDER, raising=False)
    if folder:
        monkeypatch.setenv(cache_module.FOLDER, str(tmp_path / folder))
    cache_module.bound_cache()
    assert sorted(tmp_path.rglob("*")) == [mine, mine / "0"]


def test_folders_and_links_in_the_cache_stay_and_do_no_harm(filled, tmp_path):
    """On GPUs XLA has its own folders there."""
    kept = filled / "xla_gpu_per_fusion_autotune_cache_dir"
    kept.mkdir()
    (kept / "of XLA").write_bytes(bytes(100))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(bytes(1000))
    (filled / "link").symlink_to(elsewhere)
    (filled / "round").symlink_to(filled / "round")
    os.utime(kept, (0, 0))
    trained()
    assert {path.name for path in filled.iterdir()} == {
        "2",
        "3",
        "4",
        "read",
        kept.name,
        "link",
        "round",
    }
    assert (kept / "of XLA").exists()
    assert elsewhere.exists()


def test_a_cache_that_cannot_be_looked_through_does_no_harm(filled, monkeypatch):
    def refuse(folder):
        raise PermissionError(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    trained()
    assert len(list(filled.iterdir())) == 6


def test_what_cannot_be_removed_stays_and_the_next_goes(filled, monkeypatch):
    unlink = Path.unlink

    def refuse(path, **options):
        if path.name == "0":
            raise PermissionError(path)
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", refuse)
    trained()
    assert {path.name for path in filled.iterdir()} == {"0", "3", "4", "read"}


def test_what_another_process_removes_first_does_no_harm(filled, monkeypatch):
    unlink = Path.unlink

    def late(path, **options):
        unlink(path)
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", late)
    trained()
    assert {path.name for path in filled.iterdir()} == {"2", "3", "4", "read"}


def test_a_folder_called_none_is_not_ours(tmp_path, monkeypatch):
    (tmp_path / "None").mkdir()
    (tmp_path / "None" / "mine").write_bytes(bytes(100))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(cache_module.FOLDER, "None")
    monkeypatch.setattr(cache_module, "MOST_BYTES", 0)
    monkeypatch.setattr(cache_module, "known_folder", lambda name: None)
    cache_module.bound_cache()
    assert (tmp_path / "None" / "mine").exists()


def test_what_another_process_removes_meanwhile_does_no_harm(filled, monkeypatch):
    scandir = os.scandir

    @contextmanager
    def slow(folder):
        with scandir(folder) as entries:
            seen = list(entries)
            (filled / "0").unlink()
            yield seen

    monkeypatch.setattr(os, "scandir", slow)
    cache_module.bound_cache()
    assert {path.name for path in filled.iterdir()} == {"2", "3", "4", "read"}


@pytest.fixture
def filled(variables, monkeypatch):
    """A user's cache when a worker starts: six programs of 100 bytes, of which 400 may stay."""
    folder = Path(variables[cache_module.FOLDER])
    for age, name in enumerate(["read", "0", "1", "2", "3", "4"]):
        (folder / name).write_bytes(bytes(100))
        os.utime(folder / name, (1000 * (name == "read") + age, age))
    monkeypatch.setenv(cache_module.FOLDER, str(folder))
    monkeypatch.setattr(cache_module, "MOST_BYTES", 400)
    return folder


def trained():
    """Make a trainer, as a worker does."""
    model = Model(RNN(), Inputs("token", 5), 3, 1, 5, "cross_entropy")
    weights = {name: np.zeros(shape) for name, shape in model.parameter_shapes().items()}
    return JaxBackend().trainer(model, Optimizer(), weights, Execution("scan"))
