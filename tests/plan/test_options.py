"""The options of a run: one declaration for command line, plan files and Python."""

import inspect

import pytest
import rich_click as click

import harness
from harness.cli.verbs.run import command
from harness.contract import UsageError
from harness.plan.file import read_plan
from harness.plan.options import OPTIONS, PLAN_KEYS, RunOptions, with_keywords
from harness.plan.schema import plan_schema

OF_THE_TERMINAL = {
    "help", "yes", "quiet", "format_", "dry_run", "store", "set_", "plan", "tables", "per_seed",
    "suite", "quick",
}  # fmt: skip


def test_every_option_is_on_the_command_line_and_a_keyword_in_python():
    parameters = {parameter.name: parameter for parameter in command.params}
    signature = inspect.signature(harness.run)
    for name, option in OPTIONS.items():
        assert option.flag in parameters[name].opts
        assert signature.parameters[name].default == option.default
        assert f"    {name}: {option.full_help}" in harness.run.__doc__


def test_the_command_line_has_no_option_that_python_lacks():
    from harness.plan.request import AXES

    names = {parameter.name for parameter in command.params}
    assert names - OF_THE_TERMINAL - set(AXES) == set(OPTIONS)


def test_every_plan_key_is_in_the_schema_and_read(tmp_path):
    assert set(PLAN_KEYS) >= {"launches", "timeout", "retries"}
    assert set(PLAN_KEYS) < set(plan_schema()["properties"])
    path = tmp_path / "plan.toml"
    path.write_text('launches = 2\ntimeout = "1m"\nretries = 3\n[matrix]\nlength = 5\n')
    assert read_plan(path).options == {"launches": 2, "timeout_seconds": 60.0, "retries": 3}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("launches", 0, "launches = 0: a whole number from 1 to 1000"),
        ("retries", True, "retries = True: a whole number from 0 to 100"),
        ("order_seed", -1, "order_seed = -1: a whole number of at least 0"),
        ("isolation", "thread", "isolation = 'thread': one of launch, backend"),
        ("fresh", 1, "fresh = 1: True or False"),
        ("timeout_seconds", 0, "timeout_seconds = 0: not a duration between 0 and 30 days"),
        ("timeout_seconds", "soon", "timeout_seconds = 'soon': not a duration; write"),
        ("memory_limit_bytes", 5, "memory_limit_bytes = 5: less than any launch takes"),
        ("memory_limit_bytes", "2", "memory_limit_bytes = '2': not an amount of memory"),
        ("pythons", 3, "pythons = 3: "),
    ],
)
def test_a_value_that_an_option_cannot_take_is_refused(name, value, message):
    with pytest.raises(UsageError) as refused:
        RunOptions(**{name: value})
    assert str(refused.value).startswith(message)


def test_python_may_write_values_as_the_command_line_does_or_as_its_own():
    text = RunOptions(timeout_seconds="2h", memory_limit_bytes="2GB", affinity="0,1")
    assert text == RunOptions(timeout_seconds=7200, memory_limit_bytes=2 * 10**9, affinity=[0, 1])
    pairs = RunOptions(executor="ray", resources={"disk": 1}, labels=["zone=a"])
    assert (pairs.resources, pairs.labels) == (("disk=1",), ("zone=a",))
    assert RunOptions(pythons={"base": "bin/python"}).pythons == ("base=bin/python",)


def test_all_wrong_values_are_reported_at_once():
    with pytest.raises(UsageError) as refused:
        RunOptions(launches=0, retries=-1)
    assert len(str(refused.value).splitlines()) == 2


def test_messages_name_options_by_keyword_in_python(tmp_path):
    assert with_keywords("--python a=b, --store x") == "pythons a=b, --store x"
    with pytest.raises(UsageError, match=r"^order_seed would have no effect.*add launches"):
        harness.run(store=tmp_path / "s.sqlite", task="copy", order_seed=3, progress=False)


@pytest.mark.parametrize("name", ["memory_limit_bytes", "gpus", "jobs", "executor", "isolation"])
def test_options_reach_python(tmp_path, name, monkeypatch):
    class SettledError(Exception):
        pass

    def settle(request, chosen):
        assert chosen == {name: "value"}
        raise SettledError

    monkeypatch.setattr("harness.sweep.run.settle", settle)
    with pytest.raises(SettledError):
        harness.run(store=tmp_path / "s.sqlite", **{name: "value"})


def test_help_shows_no_option_twice():
    flags = [flag for parameter in command.params for flag in parameter.opts]
    assert len(flags) == len(set(flags))
    assert isinstance(command, click.RichCommand)


@pytest.mark.parametrize("probes", ["'all'", "['memory', 'latent']"])
def test_a_plan_asks_for_probes(tmp_path, probes):
    path = tmp_path / "plan.toml"
    path.write_text(f"probe = {probes}\nprobe_every = 10\n[matrix]\nlength = 5\n")
    request = read_plan(path)
    assert not request.problems
    options = RunOptions(**request.options)
    assert options.probe == ("all" if probes == "'all'" else "memory,latent")
    assert options.probe_every == 10
    with pytest.raises(UsageError, match=r"--probe-every would have no effect.*--probe all"):
        RunOptions(probe_every=10)
