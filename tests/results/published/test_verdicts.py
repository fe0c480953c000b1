"""Statistics and verdicts of published results, on records made by hand."""

import math

import pytest
from pydantic import ValidationError

from builders import trial_of
from harness.contract import Record, UsageError
from harness_results.published.entry import Entry, Figure, read_entry
from harness_results.published.statistics import SMOOTHING, statistic, values_of
from harness_results.published.verdicts import (
    CANNOT_TELL,
    NOT_EXPRESSIBLE,
    OUTSIDE,
    REPRODUCED,
    Judgement,
    Reproduction,
    reproduction,
    rows_of,
    table_of,
)

AROUND = {"published": 1.0, "digit": 0.1, "deviation": 0.1, "calibrated": 10}


def figure(statistic="loss", **fields):
    band = {} if {"least", "most", "published"} & set(fields) else AROUND
    return Figure(name="loss", statistic=statistic, **{**band, **fields})


def record(losses, *, seed=0, status="ok", training=(), details=None, **settings):
    trial = trial_of(seed=seed, steps=10 * len(losses), evaluate_every=10, **settings)
    evaluations = [
        {"step": 10 * number, "loss_validation": loss} for number, loss in enumerate([9.0, *losses])
    ]
    return Record(
        trial, status, None if status == "ok" else "it broke",
        figures={"accuracy": 0.5, "solved": False},
        curves={"evaluations": evaluations, "loss": list(training)},
        details=details or {},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"statistic": "loss"}, 0.2),
        ({"statistic": "loss", "step": 20}, 0.1),
        ({"statistic": "loss", "step": 30, "evaluations": 3}, 0.6 / 3),
        ({"statistic": "loss", "step": 25}, None),
        ({"statistic": "loss", "evaluations": 4}, None),
        ({"statistic": "best_loss"}, 0.1),
        ({"statistic": "first_below", "below": 0.3}, 20),
        ({"statistic": "first_below", "below": 0.1}, math.inf),
        ({"statistic": "accuracy"}, 0.5),
        ({"statistic": "solved"}, 0.0),
        ({"statistic": "solved", "length": 40}, 1.0),
        ({"statistic": "accuracy", "length": 40}, 0.75),
        ({"statistic": "accuracy", "length": 80}, None),
    ],
)
def test_statistics_are_those_of_the_curve(fields, value):
    further = {"name": "T=40", "length": 40, "accuracy": 0.75, "solved": True}
    measured = record([0.3, 0.1, 0.2], details={"evaluation_sets": [further]})
    assert statistic(figure(**fields), measured) == (
        None if value is None else pytest.approx(value)
    )


def test_the_smoothed_loss_is_that_of_the_program():
    training = [4.0, 2.0, 3.0]
    expected = 4.0
    for loss in training:  # as min-char-rnn.py writes it
        expected = expected * 0.999 + loss * 0.001
    measured = record([0.3], training=training)
    assert SMOOTHING == 0.999
    assert statistic(figure("smoothed_loss", step=3), measured) == pytest.approx(expected)
    assert statistic(figure("smoothed_loss", step=4), measured) is None


@pytest.mark.parametrize(("kind", "value"), [("loss", math.inf), ("solved", 0.0)])
def test_a_network_that_diverged_is_the_worst_and_one_that_failed_is_not_counted(kind, value):
    assert statistic(figure(kind), record([1.0], status="diverged")) == value
    assert statistic(figure(kind), record([1.0], status="crashed")) is None


def test_a_network_that_diverged_is_evidence_against_a_band_only():
    never = figure("first_below", below=0.1, says="never", least=1000)
    diverged = record([0.3, 0.2], status="diverged")
    assert values_of(never, [diverged, record([0.3, 0.2], seed=1)]) == {1: math.inf}
    early = record([0.3, 0.05], status="diverged")
    assert values_of(never, [early]) == {0: 20}  # it was below before
    assert values_of(figure(), [diverged]) == {0: math.inf}
    better = figure(of={"forget_bias": 3.0}, minus={"forget_bias": 0.0}, most=0.0, says="less")
    ok, worse = record([0.4], forget_bias=3.0), record([0.4], forget_bias=0.0, status="diverged")
    assert values_of(better, [ok, worse]) == {}
    worse = record([0.4], forget_bias=3.0, status="diverged")
    assert values_of(better, [worse, record([0.4], forget_bias=0.0)]) == {0: math.inf}


def test_a_figure_that_matches_two_trials_of_a_seed_is_refused():
    with pytest.raises(UsageError, match="matches several trials of seed 0"):
        values_of(figure(), [record([0.4], forget_bias=bias) for bias in (0.0, 3.0)])


def test_what_is_infinite_is_never_as_a_step_and_infinite_as_a_loss():
    for kind, fields, text in (
        ("first_below", {"below": 0.1, "least": 9, "says": "never"}, "never"),
        ("loss", {}, "infinite"),
    ):
        judged = Reproduction(entry(), [Judgement(figure(kind, **fields), {0: math.inf})])
        assert table_of([judged]).rows[0][1][2] == text


def test_a_difference_is_between_trials_of_equal_seeds():
    records = [
        record([loss], seed=seed, forget_bias=bias)
        for seed, bias, loss in [(0, 0.0, 1.0), (0, 3.0, 0.4), (1, 3.0, 0.3)]
    ]
    compared = figure(of={"forget_bias": 3.0}, minus={"forget_bias": 0.0}, most=0.0, says="less")
    assert values_of(compared, records) == {0: pytest.approx(-0.6)}
    steps = compared.model_copy(update={"statistic": "first_below", "below": 0.1})
    assert values_of(steps, records) == {0: 0.0}  # neither ever was


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([1.11], REPRODUCED),
        ([1.13], CANNOT_TELL),  # of one seed the interval is 0.083 wide each way
        ([1.28], CANNOT_TELL),
        ([1.29], OUTSIDE),  # beyond 2 sqrt(2) deviations
        ([0.9, 1.0, 1.1], REPRODUCED),
        ([1.1, 1.3], CANNOT_TELL),
        ([1.25, 1.3], OUTSIDE),
        ([math.inf], OUTSIDE),
        ([1.0] * 9 + [2.0], REPRODUCED),  # one seed of ten does not move the median's interval
        ([], CANNOT_TELL),
    ],
)
def test_the_interval_over_seeds_decides(values, verdict):
    assert figure().band == (pytest.approx(0.8), pytest.approx(1.2))
    assert Judgement(figure(), dict(enumerate(values))).verdict == verdict


def test_the_last_digit_is_the_narrowest_band():
    assert figure(**{**AROUND, "deviation": 0.001}).band == (0.9, 1.1)


PLAN = {"plan": {"matrix": {"task": "copy", "seeds": 2}}, "minutes": 1}


def entry(kind="near", figures=(AROUND,), **fields):
    rows = [{"name": f"loss {n}", "statistic": "loss", **each} for n, each in enumerate(figures)]
    content = {"name": "a", "source": "A paper", "kind": kind, "figure": rows, **PLAN}
    return Entry.model_validate({"deviations": ["another seed"], **content, **fields})


def test_an_entry_is_as_good_as_its_worst_figure():
    records = [record([1.0], seed=seed) for seed in range(2)]
    above = {"says": "much", "least": 5.0}
    assert reproduction(entry(), records).verdict == REPRODUCED
    assert reproduction(entry(figures=(AROUND, above)), records).verdict == OUTSIDE
    failed = reproduction(entry(), [record([1.0], status="timeout")])
    assert failed.verdict == CANNOT_TELL
    assert "timeout: it broke" in failed.failures[0]
    nothing = reproduction(Entry(name="b", source="B", kind="not_expressible", reason="blocks"), [])
    assert nothing.verdict == NOT_EXPRESSIBLE
    grid = table_of([reproduction(entry(), records), nothing, failed])
    assert grid.rows[0][1] == ("1", "0.8000 to 1.200", "1", "2", REPRODUCED)
    assert grid.rows[1][1][-1] == NOT_EXPRESSIBLE
    assert any("deviates: another seed" in note for note in grid.notes)
    row, empty, _ = rows_of([reproduction(entry(), records), nothing, failed])
    assert (row["values"], row["verdict"], row["band_low"]) == (
        {"0": 1.0, "1": 1.0},
        REPRODUCED,
        0.8,
    )
    assert (empty["reason"], empty["entry_verdict"]) == ("blocks", NOT_EXPRESSIBLE)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"kind": "exact"}, "exact has no deviations"),
        ({"deviations": []}, "every other kind names its own"),
        ({"kind": "qualitative"}, "a qualitative entry has inequalities"),
        ({"kind": "not_expressible", "reason": "x"}, "neither plan nor figure"),
        ({"figures": ({"published": 1.0},)}, "a band needs published, digit"),
        ({"figures": ({**AROUND, "most": 2.0},)}, "least and most exclude digit"),
        ({"figures": ({"most": 2.0},)}, "write what the source says"),
        ({"figures": ({**AROUND, "below": 2.0},)}, "below belongs to first_below"),
        ({"figures": ({**AROUND, "published": math.nan},)}, "finite number"),
        ({"plan": {}}, "it needs plan"),
        ({"plan": {"matrix": 3}}, "plan.matrix is a table"),
        ({"plan": {"matrix": {"seeds": [1, 2]}}}, "its seeds are one whole number"),
    ],
)
def test_an_entry_that_would_mislead_is_refused(fields, problem):
    with pytest.raises(ValidationError, match=problem):
        entry(**fields)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kind = 1\nsource = 'A'", "kind: Input should be"),
        ("source = ", "is not valid TOML"),
    ],
)
def test_a_file_that_is_no_entry_is_named_with_the_problem(tmp_path, text, problem):
    path = tmp_path / "odd.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=f"odd.toml.*{problem}"):
        read_entry("odd", path)
