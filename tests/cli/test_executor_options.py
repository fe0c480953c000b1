import os
import signal
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.contract import UnavailableError, UsageError
from harness.execute.local import run_trials
from harness.execute.ray import cluster as ray_cluster
from harness.execute.ray.cluster import check_ray, connected
from harness.execute.ray.executor import RayExecutor
from harness.execute.ray.needs import Wishes
from harness.plan.options import RunOptions
from harness.sweep.settings import executor_of

BEFORE = dict(os.environ)


@pytest.fixture(autouse=True)
def _ray_is_there(monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: name)


def test_launches_run_here_unless_asked():
    assert executor_of(RunOptions()) is run_trials


def test_what_is_asked_of_a_cluster():
    wishes = {
        "address": "head:6379",
        "resources": ("fast_disk=1,big=0.5",),
        "labels": ("zone=a", "row=2"),
    }
    resources, labels = {"fast_disk": 1.0, "big": 0.5}, {"zone": "a", "row": "2"}
    assert executor_of(RunOptions(executor="ray", **wishes)) == RayExecutor(
        "head:6379", Wishes(resources, labels)
    )
    assert executor_of(RunOptions(executor="ray")) == RayExecutor("auto")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"address": "auto"}, "^--address: only a cluster has that; add --executor ray"),
        ({"resources": ("a=1",), "labels": ("b=c",)}, "^--resources, --labels: only a cluster"),
        (
            {"executor": "ray", "address": "head"},
            "^--address 'head': write HOST:PORT of the head node, auto, or local",
        ),
        ({"executor": "ray", "address": "ray://head:10001"}, "write HOST:PORT"),
        ({"executor": "ray", "affinity": "0"}, "^--affinity names processors of this machine"),
        ({"executor": "ray", "gpus": "0"}, "^--gpus names GPUs of this machine"),
        ({"executor": "ray", "jobs": 2}, "^--jobs is for runs on this machine"),
        ({"executor": "ray", "isolation": "backend"}, "^--isolation is for runs on this machine"),
        ({"executor": "ray", "pythons": ("a=b",)}, "^--python names interpreters of this machine"),
        ({"executor": "ray", "resources": ("a",)}, "^--resources 'a': write NAME=VALUE"),
        ({"executor": "ray", "resources": ("a=1,a=2",)}, "^--resources names 'a' twice"),
        (
            {"executor": "ray", "resources": ("a=b",)},
            "^--resources a=b: a number above 0; for a word, use --labels",
        ),
        ({"executor": "ray", "resources": ("a=-1",)}, "a number above 0"),
        (
            {"executor": "ray", "resources": ("CPU=2",)},
            "^--resources CPU=2: --threads and --device ask for processors",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        executor_of(RunOptions(**options))


def test_a_missing_ray_is_told_with_the_fix(monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(
        UnavailableError, match=r"^--executor ray needs Ray: pip install 'rnn-harness\[ray\]'"
    ):
        check_ray("auto")


def test_the_command_line_refuses_before_anything_is_planned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(
        cli, ["run", "--executor", "ray", "--address", "head"], standalone_mode=False
    )
    assert isinstance(result.exception, UsageError)
    assert not list(tmp_path.iterdir())


def test_a_cluster_that_is_not_there_is_told_at_once():
    message = (
        "^no Ray cluster at '127.0.0.1:1': .*refused; start one .ray start --head, docs/cluster.md"
    )
    with pytest.raises(UsageError, match=message), connected("127.0.0.1:1"):
        pass


def test_our_handlers_of_signals_stay():
    before = signal.getsignal(signal.SIGTERM)
    with ray_cluster._own_handlers():
        signal.signal(signal.SIGTERM, lambda *_: None)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_cluster_of_our_own_is_closed_to_others_and_the_environment_is_put_back(monkeypatch):
    for name in (
        "RAY_AUTH_MODE",
        "RAY_AUTH_TOKEN",
        "RAY_AUTH_TOKEN_PATH",
        "RAY_USAGE_STATS_ENABLED",
    ):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    tokens = set()
    for _ in range(2):
        with ray_cluster._environment("local"):
            assert os.environ["RAY_AUTH_MODE"] == "token"
            assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
            tokens.add(os.environ["RAY_AUTH_TOKEN"])
        assert dict(os.environ) == before
    (token,) = tokens  # Ray reads it once in a process
    assert len(token) == 64
    assert ray_cluster._init_options("local")["include_dashboard"] is False


def test_a_ray_that_was_imported_without_the_token_starts_no_cluster(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    with pytest.raises(UsageError, match=r"^Ray was imported before"), connected("local"):
        pass


def test_a_cluster_of_others_keeps_its_own_rules():
    with ray_cluster._environment("head:6379"):
        assert "RAY_AUTH_TOKEN" not in set(os.environ) - set(BEFORE)
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
