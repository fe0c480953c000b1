"""The entries that ship: their plans are valid, and their bands are those of committed records."""

import json
from statistics import stdev

import pytest

import paths
from harness.contract import UnavailableError
from harness.plan.expand import expand
from harness.plan.file import plan_of
from harness.plugins import load_plugins
from harness_published import harness_published
from harness_results.published.entry import read_entry
from harness_results.published.verdicts import OUTSIDE, Judgement

FILES = {published.name: published.path for published in harness_published()}
ENTRIES = {name: read_entry(name, path) for name, path in FILES.items()}
RUNNING = [name for name, entry in ENTRIES.items() if entry.plan]
CALIBRATED = [
    (name, figure.name)
    for name, entry in ENTRIES.items()
    for figure in entry.figures
    if figure.calibrated
]
RECORDS = paths.ROOT / "results" / "harness_published" / "records"


def figure_of(name, figure):
    return next(each for each in ENTRIES[name].figures if each.name == figure)


def values_of(name, figure):
    """Return what the committed run measured of a figure, by seed."""
    lines = (RECORDS / f"{name}.jsonl").read_text().splitlines()
    rows = {row["figure"]: row for row in map(json.loads, lines)}
    return {int(seed): value for seed, value in rows[figure]["values"].items()}


@pytest.mark.parametrize("name", RUNNING)
def test_the_plan_of_an_entry_expands(name):
    entry, plugins = ENTRIES[name], load_plugins()
    try:
        trials = expand(plan_of(entry.plan, FILES[name]), plugins)
    except UnavailableError:  # a text that is not here
        if entry.needs:
            return
        raise
    assert {trial.seed for trial in trials} == {*range(entry.seeds)}
    for figure in entry.figures:
        for fields in (figure.of, figure.minus):
            settings = [{**trial.task_options, **trial.model_dump()} for trial in trials]
            assert any(
                all(each[key] == value for key, value in fields.items()) for each in settings
            )
        assert figure.step is None or all(figure.step <= trial.steps for trial in trials)


@pytest.mark.parametrize(("name", "figure"), CALIBRATED)
def test_a_band_is_that_of_the_committed_records(name, figure):
    values = list(values_of(name, figure).values())
    assert len(values) == figure_of(name, figure).calibrated
    assert figure_of(name, figure).deviation == pytest.approx(stdev(values), rel=0.01)


@pytest.mark.parametrize(("name", "figure"), CALIBRATED)
def test_a_figure_that_is_off_by_a_fifth_is_outside(name, figure):
    honest, values = figure_of(name, figure), values_of(name, figure)
    low, high = honest.band
    if high - low > 0.12 * honest.published:
        pytest.skip("seeds differ too much to see a fifth")
    for factor in (0.8, 1.2):
        falsified = honest.model_copy(update={"published": factor * honest.published})
        assert Judgement(falsified, values).verdict == OUTSIDE
