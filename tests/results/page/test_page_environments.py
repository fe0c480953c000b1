"""Where trials were measured, on the page and in the tables; both warn of mixed environments."""

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from click.testing import CliRunner

from chart_records import make
from harness.cli.main import OK, cli
from harness_results.page.environments import environments, measured_between, warnings
from harness_results.store.store import Store

ONE = {
    "cpu": {"model": "one"},
    "cores": {"physical": 2, "logical": 4},
    "libraries": {"numpy": "2.0"},
}
OTHER = {"cpu": {"model": "other"}, "libraries": {"numpy": "2.1"}}
MIXED = (
    "These trials come from 2 environments. Losses can be compared; speeds and memory only within "
    "one environment."
)


def measured(environment, environment_id, length=10, version="0.1"):
    return replace(
        make(length=length),
        environment=environment,
        environment_id=environment_id,
        harness_version=version,
        started_at="2026-01-01T00:00:00+00:00",
    )


def test_one_environment_has_no_warning():
    assert warnings([measured(ONE, "aaaa"), measured(ONE, "aaaa", 20)]) == []


def test_several_environments_and_versions_are_warned_of():
    records = [measured(ONE, "aaaa"), measured(OTHER, "bbbb", 20, version="0.2")]
    assert warnings(records) == [
        MIXED,
        "Several versions are mixed: harness and numpy. See the table of environments.",
    ]
    assert measured_between(records) == "Measured on 2026-01-01 in 2 environments."
    assert [environment.facts["processor"] for environment in environments(records)] == [
        "one",
        "other",
    ]


def test_an_unknown_environment_is_not_another_one():
    records = [measured(ONE, "aaaa"), measured({}, None, 20)]
    assert warnings(records) == []
    assert [environment.identity for environment in environments(records)] == [
        "aaaa",
        "not reported",
    ]


def report(*arguments):
    result = CliRunner().invoke(cli, ["report", *map(str, arguments)], standalone_mode=False)
    assert (result.exception, result.return_value) == (None, OK)
    return result.stdout


@pytest.fixture
def two_stores(tmp_path):
    paths = [tmp_path / "a.db", tmp_path / "b.db"]
    records = [measured(ONE, "aaaa"), measured(OTHER, "bbbb")]
    for path, record in zip(paths, records, strict=True):
        with Store.open(path) as store:
            store.add(record, store.begin_run("harness run"))
    return paths


@pytest.mark.slow
def test_the_page_of_two_stores_of_unlike_environments_warns_first_and_where_they_are_described(
    two_stores, tmp_path
):
    for library in ("jinja2", "altair", "vl_convert"):
        pytest.importorskip(
            library, reason=f"{library} is not installed: pip install 'rnn-harness[report]'"
        )
    for stores, count in ((two_stores, 2), (two_stores[:1], 0)):
        report(*stores, "-f", "html", "-o", tmp_path / "r.html")
        page = (tmp_path / "r.html").read_text(encoding="utf-8")
        matches = re.findall(
            r'<section id="(\w+)"|<p class="warning"><strong>Warning:</strong> (These[^<]*)', page
        )
        sections = [before for (before, _), (_, warning) in pairwise(matches) if warning]
        assert [warning for _, warning in matches if warning] == [MIXED] * count
        assert sections == ["headline", "environments"][:count]


@pytest.mark.parametrize("format_", ["table", "markdown", "latex"])
def test_the_tables_of_two_stores_of_unlike_environments_name_the_machine_of_each_row(
    two_stores, format_
):
    shown = report(*two_stores, "-f", format_)
    for name, processor in (("aaaa", "one"), ("bbbb", "other")):
        assert f"machine {name}: {processor}" in shown
    assert "machine aaaa" not in report(two_stores[0], "-f", format_)
