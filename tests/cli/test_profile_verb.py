"""``harness profile`` with a cell of a plugin: it measures once, and a second call only reports."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import harness.cli.work.profile as work
from harness.cli.main import cli
from harness.contract import UnknownNameError, UsageError
from harness.plan.expand import expand
from harness.plugins import load_plugins
from harness.sweep.run import Outcome
from harness_results.store.store import Store

PLUGINS = load_plugins()

CELL = """
    from pathlib import Path
    from harness.contract import Cell, Suite, hookimpl

    class Blend(Cell):
        name, gates = "blend", ("g", "n")

        def step(self, ops, zx, state, own):
            z_g, z_n = ops.split(zx + ops.product("hh", state.h), 2)
            return (state.h + ops.sigmoid(z_g) * (ops.tanh(z_n) - state.h),)

    @hookimpl
    def harness_cells():
        return [Blend()]

    @hookimpl
    def harness_suites():
        folder = Path(__file__).parent
        return [Suite(name, folder / f"{name}.toml") for name in ("tiny", "tiny_speed")]
"""
TINY = """
[matrix]
backend = "numpy:loop"
hidden = 4
batch = 8
length = 12
steps = 20
[[case]]
task = "parity"
evaluate_at = 24
[[case]]
task = "adding"
[quick]
steps = 10
"""
SPEED = """
launches = 2
[matrix]
backend = ["numpy:loop", "absent"]
task = "copy"
length = 5
hidden = 4
steps = 20
[quick]
steps = 10
"""


@pytest.fixture
def invoke(install, monkeypatch, tmp_path):
    install("fake_blend", CELL)
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / "tiny_speed.toml").write_text(SPEED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(work, "SUITE", "tiny")
    monkeypatch.setattr(work, "SPEED", "tiny_speed")

    def invoke(*arguments):
        blocked = ["-p", "no:torch", "-p", "no:jax"]
        return CliRunner().invoke(cli, [*blocked, "profile", *arguments], standalone_mode=False)

    return invoke


@pytest.mark.slow
def test_a_cell_of_a_plugin_is_measured_once_and_reported_in_every_format(invoke):
    done = invoke("blend", "--quick", "-f", "json")
    assert done.exception is None, done.output
    content = json.loads(done.stdout)
    names = {name: [row["name"] for row in rows] for name, rows in content["sections"].items()}
    assert names == {
        "computes": ["rungs solved", "parity"],
        "keeps": ["capacity, parity T=12", "latent, parity T=12", "horizon, adding T=12"],
        "learns": ["adding T=12"],
        "speed": ["numpy:loop"],
        "proof": ["largest deviation", "trials proven"],
    }
    assert {tuple(row["cells"]) for rows in content["sections"].values() for row in rows} == {
        ("blend",)
    }
    assert "absent is not installed" in done.stderr
    assert "All 3 trials agree with the float64 reference." in content["sentences"]["proof"]
    before = launches()
    table = invoke("blend", "--quick")
    assert table.stdout.startswith("profile of blend\n")
    page = invoke("blend", "--quick", "-f", "html", "-o", "page.html")
    assert (table.return_value, page.return_value) == (0, 0), page.output
    assert "<h1>Profile of blend</h1>" in Path("page.html").read_text(encoding="utf-8")
    assert launches() == before


def launches():
    """Return the runs of the store, and how many launches it has."""
    with Store.open("harness.sqlite", create=False) as store:
        return [run.run_id for run in store.runs()], len(store.launches())


@pytest.mark.slow
def test_what_is_unknown_is_refused_before_anything_runs(invoke):
    for arguments, problem in (
        (("blendd",), "unknown cell 'blendd'. Did you mean blend"),
        (("blend", "--against", "lstn"), "unknown cell 'lstn'. Did you mean lstm"),
        (("blend", "-b", "nump"), "unknown backend 'nump'. Did you mean numpy"),
    ):
        error = invoke(*arguments).exception
        assert isinstance(error, (UnknownNameError, UsageError))
        assert problem in str(error)
    assert not Path("harness.sqlite").exists()


@pytest.mark.slow
def test_only_what_is_not_timed_runs_next_to_others(monkeypatch, tmp_path):
    asked = []

    def execute(request, options, **_):
        tasks = {trial.task for trial in expand(request, PLUGINS)}
        asked.append((options.get("jobs", 1), options.get("launches"), "parity" in tasks))
        return Outcome([])

    monkeypatch.setattr(work, "execute", execute)
    store = str(tmp_path / "s.sqlite")
    run = work.ProfileRun(("gru", "lstm"), ("numpy",), seeds=1, jobs=4, store=store, is_quick=True)
    assert work.profile(run, "json", tmp_path / "out.json") == 0
    assert asked == [(4, None, True), (1, 3, False)] * 2
