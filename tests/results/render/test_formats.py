"""Exporters: those of the harness, and those of plugins, in reports and in Python."""

import pytest
from click.testing import CliRunner

from builders import small_trial
from harness.cli.main import cli
from harness.contract import PluginError, Record, UnknownNameError, UsageError
from harness.plugins import load_plugins
from harness.testing import checks_for_exporter, run_check
from harness_results.formats import harness_exporters
from harness_results.results import Results
from harness_results.store.store import Store

PLUGIN = """
    from harness.contract import Exporter, hookimpl

    class Ids(Exporter):
        name, suffixes, with_curves = "ids", (".ids",), True

        def export(self, records, *, per_seed=False):
            lines = [f"{each.trial.trial_id} {len(each.curves['loss'])}" for each in records]
            return "".join(line + chr(10) for line in lines)

    class Raw(Ids):
        name = "raw"

        def export(self, records, *, per_seed=False):
            return bytes([0, 255, len(records)])

    class Number(Ids):
        name = "number"

        def export(self, records, *, per_seed=False):
            return 3

    class Raises(Ids):
        name = "raises"

        def export(self, records, *, per_seed=False):
            raise ValueError("no idea")

    @hookimpl
    def harness_exporters():
        return [Ids(), Raw(), Number(), Raises()]
"""


@pytest.fixture
def store(install, tmp_path):
    install("fake_formats", PLUGIN)
    path = tmp_path / "store.sqlite"
    with Store.open(path) as opened:
        run_id = opened.begin_run("harness run")
        for seed in range(2):
            trial = small_trial(seed=seed)
            opened.add(Record(trial, "ok", curves={"loss": [0.5, 0.25]}), run_id)
    return str(path)


def report(store, *arguments):
    return CliRunner().invoke(cli, ["report", store, *arguments], standalone_mode=False)


@pytest.mark.parametrize(
    "exporter",
    [
        pytest.param(each, id=each.name, marks=[pytest.mark.slow] if each.with_curves else [])
        for each in harness_exporters()
    ],
)
def test_the_formats_of_the_harness_pass_the_checks_of_a_plugin(exporter):
    if exporter.name in {"parquet", "html"}:
        pytest.importorskip("pyarrow" if exporter.name == "parquet" else "vl_convert")
    for check in checks_for_exporter(exporter):
        result = run_check(check)
        assert result.passed, result


def test_a_report_has_the_formats_of_a_plugin(store, tmp_path):
    text = report(store, "-f", "ids").stdout
    assert text == "".join(f"{small_trial(seed=seed).trial_id} 2\n" for seed in range(2))
    assert Results.from_store(store).export("ids") == text
    target = tmp_path / "out.raw"
    assert report(store, "-f", "raw", "-o", str(target)).exception is None
    assert target.read_bytes() == bytes([0, 255, 2])


@pytest.mark.parametrize(
    ("name", "kind", "problem"),
    [
        ("raw", None, "raw is not text: name a file with --output report.ids"),
        ("number", PluginError, "invalid export: expected text or bytes, got 3; exporter 'number'"),
        ("raises", PluginError, "exporter 'raises' from fake-formats 1.0 failed: ValueError: no"),
        ("idz", UnknownNameError, "unknown format 'idz'. Did you mean ids"),
    ],
)
def test_a_format_that_fails_is_named(store, name, kind, problem):
    error = report(store, "-f", name).exception
    assert problem in str(error)
    assert kind is None or isinstance(error, kind)


def test_nothing_is_exported_of_no_record():
    with pytest.raises(UsageError, match="an export needs a record"):
        Results().export("csv")


@pytest.mark.parametrize("suffixes", ["'.ids'", "()", "('ids',)"])
def test_wrong_suffixes_break_the_plugin(install, suffixes):
    install("fake_wrong", PLUGIN.replace('(".ids",)', suffixes))
    (broken,) = [plugin for plugin in load_plugins().broken if plugin.name == "fake_wrong"]
    assert "suffixes must be a tuple of texts that begin with a dot" in broken.reason


def test_a_format_of_the_report_itself_is_no_name_of_an_exporter(install):
    install("fake_picture", PLUGIN.replace('name = "raw"', 'name = "png"'))
    (broken,) = [plugin for plugin in load_plugins().broken if plugin.name == "fake_picture"]
    assert "exporter 'png': harness report has a format of that name" in broken.reason
