"""Charts: valid specifications with one dataset; its rows are the figures of the tables."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from chart_records import ENGINES, HOSTILE, LENGTHS, judged, make, sweep, with_probes
from harness.contract import UnavailableError, UnknownNameError, UsageError
from harness.contract.records.record import HORIZON_FRACTION
from harness.measure.proof.flow import _horizon
from harness_results.charts import all_charts, chart_of, theme
from harness_results.charts.data import (
    MOST_ROWS,
    Rows,
    buckets,
    ends,
    thin_curves,
    thin_lines,
)
from harness_results.charts.panels import Panel
from harness_results.charts.series import labelled, rows_of
from harness_results.results import Results
from harness_results.study.scaling import scaling
from harness_results.study.seeds.summary import over_seeds
from harness_results.study.study import Study
from harness_results.study.tables.notes import KINDS
from harness_results.study.tables.relative import least_seconds
from harness_results.study.tables.scaling_table import scaling_tables
from harness_results.study.theory import decay_at_start
from harness_results.text.thinning import evenly_chosen

alt = pytest.importorskip("altair")
NAMES = list(all_charts())
COMMON = {
    "task", "cell", "backend", "engine", "length", "network", "series", "part", "panel", "order",
    "level",
}  # fmt: skip


def rows(name, records=None, part="measured"):
    drawn = all_charts()[name].rows(labelled(sweep() if records is None else records))
    return [row for row in drawn if row["part"] == part]


def by_trial(drawn):
    return {(row["task"], row["cell"], row["engine"], row["length"]): row for row in drawn}


def key(record):
    trial = record.trial
    return trial.task, trial.cell, trial.engine, trial.length


def datasets(specification):
    if isinstance(specification, dict):
        here = [specification["data"]] if "data" in specification else []
        return here + [data for value in specification.values() for data in datasets(value)]
    if isinstance(specification, list):
        return [data for value in specification for data in datasets(value)]
    return []


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_is_a_valid_specification_with_one_named_dataset(name):
    # validated against the schema of Vega-Lite
    specification = chart_of(sweep(), name).to_dict(validate=True)
    (data,) = datasets(specification)
    assert "datasets" not in specification
    assert data["name"] == "rows"
    assert json.loads(json.dumps(data["values"], allow_nan=False)) == data["values"]
    assert all(set(row) >= COMMON for row in data["values"])
    assert all(
        not isinstance(value, dict | list | tuple)
        for row in data["values"]
        for value in row.values()
    )
    assert specification["title"]["text"] == all_charts()[name].title


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_says_what_it_shows_and_how_it_was_measured(name):
    chart = all_charts()[name]
    assert chart.name == name
    assert all(text.endswith(".") for text in (chart.shows, chart.measured))


def test_the_words_below_a_chart_are_those_of_the_tables():
    throughput, step_time = (all_charts()[name] for name in ("throughput", "step-time"))
    assert all(words in throughput.measured for words in KINDS.values())
    assert "a + b t" in step_time.shows
    assert "a + b t" in step_time.key
    assert "copy: T + 2K" in step_time.measured


def test_the_charts_stand_in_the_order_of_the_page():
    assert NAMES == [
        "loss", "loss-curves", "lengths", "lengths-curves", "ladder", "throughput", "step-time",
        "compiling", "gradient-flow", "gradient-horizon", "gradient-norm", "memories",
        "over-training", "memory", "parity",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("loss", {"y": "loss_validation", "ratio": "loss_ratio"}),
        (
            "throughput",
            {
                "y": "tokens_per_second",
                "low": "tokens_per_second_low",
                "high": "tokens_per_second_high",
            },
        ),
        ("step-time", {"y": "step_seconds_median"}),
        ("gradient-horizon", {"y": "gradient_horizon", "decay": "gradient_decay"}),
        ("memory", {"y": "peak_memory_bytes"}),
        ("parity", {"y": "parity_error", "tolerance": "parity_tolerance"}),
    ],
)
def test_what_is_drawn_against_the_length_is_the_figure_of_each_record(name, columns):
    records, rows_by_trial = sweep(), by_trial(rows(name))
    assert len(rows_by_trial) == len(records)
    for record in records:
        row = rows_by_trial[key(record)]
        assert {drawn: row[drawn] for drawn in columns} == {
            d: record.figures[name] for d, name in columns.items()
        }
        assert row["backend"] == record.trial.backend


def test_what_did_not_end_well_has_no_loss_speed_memory_and_horizon_but_its_parity_error():
    records = [*sweep(), make(length=80, status="parity_failed", parity_error=0.5)]
    for name in ("loss", "throughput", "step-time", "compiling", "memory", "gradient-horizon"):
        assert 80 not in {row["length"] for row in all_charts()[name].rows(labelled(records))}
    assert [row["y"] for row in rows("parity", records) if row["length"] == 80] == [0.5]


def test_numbers_of_numpy_are_numbers_and_what_is_not_finite_is_left_out():
    figures = {
        "parity_error": np.float32(0.5),
        "loss_validation": math.inf,
        "peak_memory_bytes": np.int64(7),
    }
    assert [row["y"] for row in rows("parity", [make(**figures)])] == [0.5]
    assert json.dumps([row["y"] for row in rows("memory", [make(**figures)])]) == "[7.0]"
    assert not rows("loss", [make(**figures)])
    assert not rows("parity", [make(parity_error=math.nan)])


def test_a_chart_names_its_baseline_if_it_has_one_only():
    ladder = {"ngram_losses": {"unigram": 3.0, "trigram": 2.0}}
    text = [replace(make(length=n, task="char"), details={"task": ladder}) for n in LENGTHS]
    for name in ("loss", "loss-curves"):
        chart = all_charts()[name]
        assert "dashed: trigram" in chart.key_of(chart.rows(labelled(text)))
        assert "dashed: baseline" in chart.key_of(chart.rows(labelled([*text, *sweep()])))
    assert '"x trigram"' in json.dumps(chart_of(text, "loss").to_dict())


def test_baseline_and_floor_are_those_of_the_table():
    records = [record for record in sweep() if record.trial.task == "adding"]
    drawn = {row["length"]: row["y"] for row in rows("loss", records, "baseline")}
    assert drawn == {n: Study(records).baseline(n) for n in LENGTHS}
    assert [row["label"] for row in rows("loss", records, "words")] == ["floor: 0"]
    positive = [
        replace(record, figures={**record.figures, "loss_floor": 0.01}) for record in records
    ]
    assert {row["y"] for row in rows("loss", positive, "floor")} == {0.01}


def test_solved_and_beyond_are_marked():
    assert {row["cell"]: row["mark"] for row in rows("loss")} == {"lstm": "✓", "rnn": None}
    assert {
        row["cell"]: row["mark"] for row in rows("gradient-horizon") if row["length"] == 40
    } == {
        "lstm": ">",
        "rnn": None,
    }


@pytest.mark.parametrize(
    ("part", "fraction"), [("serial", "fraction_of_serial_limit"), ("peak", "fraction_of_peak")]
)
def test_the_limits_are_those_of_the_relative_table_as_tokens_per_second(part, fraction):
    records = [
        record
        for record in sweep()
        if record.trial.task == "adding" and record.trial.cell == "lstm"
    ]
    drawn = {row["length"]: row["y"] for row in rows("throughput", records, part)}
    for n in LENGTHS:
        least = least_seconds([record for record in records if record.trial.length == n], fraction)
        assert drawn[n] == pytest.approx(4 * n / least)
        assert all(row["engine"] is None for row in rows("throughput", records, part))


def test_a_limit_of_one_length_goes_across_the_panel():
    assert [row["alone"] for row in rows("throughput", [make()], "serial")] == [True]
    assert {row["alone"] for row in rows("throughput", part="serial")} == {False}


def test_the_fit_of_the_step_time_is_that_of_the_scaling_table():
    records = sweep()
    fits = {key(fit.records[0])[:3]: fit for fit in scaling(records)}
    drawn = rows("step-time", records, "fit")
    assert {(row["task"], row["cell"], row["engine"]) for row in drawn} == set(fits)
    for row in drawn:
        fit = fits[row["task"], row["cell"], row["engine"]]
        assert row["a"] == fit.step_overhead_seconds.value
        assert row["b"] == fit.time_step_seconds.value
        # adding runs T time steps
        assert row["y"] == pytest.approx(row["a"] + row["b"] * row["at"])
    assert {row["at"] for row in drawn} >= set(LENGTHS)


def test_two_lengths_without_a_fit_are_drawn_and_all_lengths_have_a_tick():
    for count in (2, 3):
        records = [record for record in sweep() if record.trial.length in LENGTHS[:count]]
        layers = Results(records).chart("step-time").to_dict()["spec"]["layer"]
        ticks = [
            layer["encoding"]["x"]["axis"]["values"] for layer in layers if "x" in layer["encoding"]
        ]
        assert ticks == [list(LENGTHS[:count])] * 2
        assert bool(rows("step-time", records, "fit")) == (count > 2)


def test_compiling_is_paid_when_the_table_says_so():
    records = [
        record
        for record in sweep()
        if record.trial.task == "adding" and record.trial.cell == "lstm"
    ]
    (jax,) = (fit for fit in scaling(records) if fit.break_even)
    drawn = {row["length"]: row for row in rows("compiling", records) if "paid" in row["panel"]}
    assert {n: drawn[n]["y"] for n in (10, 40)} == {
        even.length: even.steps for even in jax.break_even
    }
    assert {row["against"] for row in drawn.values()} == {"torch:library"}
    assert any(table for table in scaling_tables(Study(records)) if "compiling" in str(table))
    assert {row["y"] for row in rows("compiling", records) if "seconds" in row["panel"]} == {0.5}


def test_never_and_at_once_stand_at_the_ends_of_the_axis():
    slow = [make("jax:scan", step_seconds_median=1.0), make("torch:library")]
    assert [row["label"] for row in rows("compiling", slow, "top")] == ["never"]
    quick = [make("jax:scan", compile_seconds=1e-9), make("torch:library", first_step_seconds=9.0)]
    assert [row["label"] for row in rows("compiling", quick, "bottom")] == ["at once"]


@pytest.mark.parametrize(
    ("name", "figure"), [("parity", "parity_error"), ("memory", "peak_memory_bytes")]
)
def test_a_zero_stands_below_the_axis(name, figure):
    assert [row["label"] for row in rows(name, [make(**{figure: 0})], "bottom")] == ["0"]


def test_gradient_flow_is_a_fraction_of_its_value_at_lag_0():
    record = make(cell="rnn")
    final = record.curves["gradient_flow"]["final"]
    drawn = [
        row for row in rows("gradient-flow", [record], "flow") if "after training" in row["panel"]
    ]
    assert [row["lag"] for row in drawn] == final["lags"]
    for row, norm, low in zip(drawn, final["median"], final["low"], strict=True):
        assert row["norm"] == pytest.approx(norm, rel=1e-5)
        assert (row["y"], row["low"]) == (
            pytest.approx(norm / 2, rel=1e-5),
            pytest.approx(low / 2, rel=1e-5),
        )
    assert {row["y"] for row in rows("gradient-flow", [record], "gone")} == {0.01}


def test_the_flow_of_each_state_is_drawn_as_a_fraction_of_the_whole_at_lag_0():
    record = make()
    final = record.curves["gradient_flow"]["final"]
    whole = {**final, "states": {"h": final["low"], "c": [None, *final["median"][1:]]}}
    drawn = rows(
        "gradient-flow", [replace(record, curves={"gradient_flow": {"final": whole}})], "state"
    )
    for name, norms in whole["states"].items():
        points = {row["lag"]: row["y"] for row in drawn if row["state"] == name}
        assert points == {
            lag: pytest.approx(n / 2, rel=1e-5) for lag, n in enumerate(norms) if n is not None
        }
    assert not rows("gradient-flow", [record], "state")  # of one state, which is the whole


def test_the_line_that_is_drawn_is_the_one_that_the_horizon_is_measured_by():
    norms = np.array([1.0, HORIZON_FRACTION, 0.999 * HORIZON_FRACTION])
    assert _horizon(norms) == (2, False)
    assert {row["y"] for row in rows("gradient-flow", [make()], "gone")} == {HORIZON_FRACTION}
    assert f"dashed: {100 * HORIZON_FRACTION:g} %" in all_charts()["gradient-flow"].key


def test_theory_stands_beside_the_flow_at_the_start_only():
    drawn = rows("gradient-flow", [make(cell="rnn"), make()], "theory")
    assert {row["panel"] for row in drawn} == {"adding · T=20 · at the start"}
    ends_of = {row["cell"]: row["y"] for row in drawn if row["lag"] == 19}
    assert ends_of == {"rnn": pytest.approx(3**-9.5), "lstm": pytest.approx(2.0**-19)}
    assert {row["label"] for row in drawn} == {"rnn 0.577", "lstm 0.5"}


@pytest.mark.parametrize(
    ("cell", "settings", "factor"),
    [
        ("rnn", {}, 1 / math.sqrt(3)),
        ("rnn_relu", {"initialisation": "identity"}, 1.0),
        ("rnn", {"initialisation": "glorot"}, 1.0),
        ("rnn", {"initialisation": "recurrent=normal:0.1", "hidden": 25}, 0.5),
        ("rnn", {"initialisation": "input=glorot"}, 1 / math.sqrt(3)),
        ("rnn", {"initialisation": "recurrent=zeros"}, None),
        ("lstm", {}, 0.5),
        ("lstm", {"forget_bias": 1.0}, 0.731),
        ("mingru", {"forget_bias": 1.0}, 0.731),
        ("minlstm", {}, 0.5),
        ("minlstm", {"forget_bias": 1.0}, 0.594),
        ("minlstm", {"forget_bias": 100.0}, 2 / 3),
        ("minlstm", {"forget_bias": -100.0}, 0.0),
        ("gru", {"chrono": 20}, None),
        ("leaky", {}, None),
    ],
)
def test_theory_follows_the_cell_and_its_initial_weights(cell, settings, factor):
    decay = decay_at_start(make(cell=cell, trial=settings).trial)
    assert decay == (None if factor is None else pytest.approx(factor, abs=1e-3))


def test_a_flow_that_is_not_finite_or_of_nothing_is_left_out():
    record = make()
    broken = {
        "initial": {**record.curves["gradient_flow"]["initial"], "median": [None] * 20},
        "final": None,
    }
    assert not rows("gradient-flow", [replace(record, curves={"gradient_flow": broken})], "flow")


ODD = [
    "text", 3, None, {"a": 1}, [], ["x", None, True], [math.nan, math.inf, 10**400],
    [1e308] * 1000, [-1.0, 0.0], ["x", 2.0],
]  # fmt: skip


def odd_curves(odd):
    flow = make().curves["gradient_flow"]["final"]
    yield {"loss": odd, "gradient_norm": odd, "evaluations": odd, "gradient_flow": odd}
    yield {
        "loss": [2.0, 1.0],
        "evaluations": [{"step": odd, "loss_validation": 1.0}, {"loss_validation": odd}, odd],
    }
    yield from ({"gradient_flow": {"initial": {**flow, name: odd}, "final": odd}} for name in flow)
    yield from (
        {"gradient_flow": {"initial": {k: flow[k] for k in flow if k != name}}} for name in flow
    )


def odd_probes(odd):
    yield from (odd, {"memory": odd, "latent": odd, "other": odd})
    for name in ("figures", "curves", "over_training"):
        yield {"memory": {"figures": {"capacity": 1.0}, name: odd}}
        yield {"latent": {"figures": {"r2": odd}, name: {"kept": odd, "exponent_per_step": odd}}}
    for name in ("at", "values"):
        curves = {"kept": {"along": "lag_steps", "at": [0, 1], "values": [1.0, 0.5], name: odd}}
        yield {"memory": {"figures": {"a": 1.0}, "curves": curves, "over_training": curves}}


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_odd_curves_of_a_foreign_store_harm_no_chart(odd):
    records = [replace(make(), curves=curves) for curves in odd_curves(odd)]
    records += [replace(make(), details={"probes": odd}) for odd in odd_probes(odd)]
    for chart in all_charts().values():
        drawn = list(chart.rows(labelled([*records, with_probes(judged(make(cell="gru"), 2))])))
        assert any(row["cell"] == "gru" for row in drawn) or chart.name in {"compiling", "ladder"}
        assert json.loads(json.dumps(drawn, allow_nan=False)) == drawn


def test_the_memories_are_those_of_the_probes_with_chance_and_theory():
    record = with_probes(make(length=20))
    points = {
        (name, memory): [
            (row["lag"], row["y"])
            for row in rows("memories", [record], name)
            if row["memory"].startswith(memory)
        ]
        for name in ("measured", "chance", "theory")
        for memory in ("could learn", "keeps", "computes")
    }
    assert points["measured", "keeps"] == [(lag, 0.9**lag) for lag in range(10)]
    assert points["measured", "computes"] == [(0, 0.75), (19, 0.75)]
    assert points["chance", "computes"] == [(0, 0.25), (19, 0.25)]
    flow = record.curves["gradient_flow"]["final"]["median"]
    assert points["measured", "could learn"] == [
        (lag, pytest.approx(norm / max(flow), rel=1e-5)) for lag, norm in enumerate(flow)
    ]
    theory = [(lag, pytest.approx(math.exp(-0.01 * lag), rel=1e-5)) for lag in range(20)]
    assert points["theory", "could learn"] == theory
    assert not rows("memories", [make()])


def test_figures_over_training_have_their_steps_and_the_loss_its_means():
    record = with_probes(make(steps=60))
    drawn = rows("over-training", [record], "figure")
    assert [(row["step"], row["y"]) for row in drawn] == [
        (0, -0.5), (10, -0.4), (20, -0.2), (60, -0.01),
    ]  # fmt: skip
    assert {row["panel"] for row in drawn} == {"adding · T=20 · lyapunov.exponent_per_step"}
    losses = {row["step"]: row["y"] for row in rows("over-training", [record], "loss")}
    assert losses[1] == pytest.approx(record.curves["loss"][0], rel=1e-5)
    assert max(losses) == 60
    last = [step for step in losses if step < 60][-1]
    assert losses[60] == pytest.approx(np.mean(record.curves["loss"][last:]), rel=1e-5)
    levels = rows("over-training", [record], "level")
    assert sorted(row["y"] for row in levels) == [0.0, pytest.approx(1 / 6, rel=1e-5)]


def test_a_flow_without_quartiles_is_drawn_without_a_band():
    final = make().curves["gradient_flow"]["final"]
    record = replace(
        make(), curves={"gradient_flow": {"final": {**final, "low": [], "high": "text"}}}
    )
    drawn = rows("gradient-flow", [record], "flow")
    assert [row["lag"] for row in drawn] == final["lags"]
    assert {(row["low"], row["high"]) for row in drawn} == {(None, None)}


def test_a_bucket_whose_smallest_norm_is_zero_keeps_its_median():
    values = [1.0] * 1000
    values[505] = 0.0
    drawn = rows("gradient-norm", [replace(make(), curves={"gradient_norm": values})], "norm")
    assert [(row["y"], row["low"], row["high"]) for row in drawn].count((1.0, None, 1.0)) == 1
    assert len(drawn) == 100


def test_loss_curves_are_means_of_buckets_and_end_at_the_last_step():
    record = make(steps=1000)
    drawn = rows("loss-curves", [record], "training")
    assert len(drawn) == 100
    assert drawn[-1]["step"] == 1000
    values = record.curves["loss"]
    means = [sum(values[n : n + 10]) / 10 for n in range(0, 1000, 10)]
    assert [row["y"] for row in drawn] == pytest.approx(means, rel=1e-5)  # six digits
    assert [(row["step"], row["y"]) for row in rows("loss-curves", [record], "validation")] == [
        (0, 2.3),
        (1000, 1e-3),
    ]


def test_gradient_norms_keep_their_extremes():
    record = make(steps=1000)
    values = [1.0] * 1000
    values[505] = 50.0
    drawn = rows("gradient-norm", [replace(record, curves={"gradient_norm": values})], "norm")
    assert max(row["high"] for row in drawn) == 50.0
    assert {row["y"] for row in drawn} == {1.0}
    assert [row["y"] for row in rows("gradient-norm", [record], "clip")] == [1.0]


def test_seeds_share_a_panel_and_no_line():
    drawn = rows("throughput", [make(trial={"seed": seed}) for seed in range(3)])
    assert {row["panel"] for row in drawn} == {"adding · lstm"}
    assert len({row["series"] for row in drawn}) == 3


def test_settings_that_vary_have_panels_of_their_own_on_a_second_line():
    drawn = rows("throughput", [make(trial={"hidden": hidden}) for hidden in (8, 16)])
    assert [row["panel"] for row in drawn] == [
        "adding · lstm\nhidden 8",
        "adding · lstm\nhidden 16",
    ]


def test_lengths_over_training_are_medians_of_seeds_that_may_stop_or_diverge():
    def seed(number, accuracies, status="ok"):
        record = judged(make("numpy:loop", "lstm", 20, trial={"seed": number}), 2)
        sets = [
            {"step": 10 * n, "length": 40, "accuracy": value} for n, value in enumerate(accuracies)
        ]
        curves = {**record.curves, "evaluation_sets": sets}
        return replace(record, status=status, curves=curves, figures={"accuracy": 1.0})

    seeds = [seed(0, [0.5, 0.7, 0.9]), seed(1, [0.4, 0.8]), seed(2, [0.6, 0.9], "diverged")]
    drawn = rows("lengths-curves", over_seeds(seeds))
    assert {row["panel"] for row in drawn} == {"adding · T=20 · evaluated at 40"}
    assert [(row["step"], row["y"], row["low"], row["high"]) for row in drawn] == [
        (0, 0.5, 0.4, 0.6), (10, 0.8, 0.7, 0.9), (20, 0.8, 0.0, 0.9),
    ]  # fmt: skip


def test_too_many_panels_are_cut_by_whole_lengths_with_a_note():
    panels = [Panel(((task,), ()), length) for task in "abcde" for length in LENGTHS]
    chart = rows_of([], [{"panel": panel} for panel in panels])
    assert chart.levels == 2
    assert chart.drawn == 10
    assert chart.note == "10 of 15 panels are drawn"
    shown = {row["panel"] for row in chart if row["level"] <= chart.levels}
    assert shown == {f"{task} · T={length}" for task in "abcde" for length in (20, 40)}


def test_the_panels_of_many_settings_are_counted_once():
    class Counted(tuple):
        __slots__ = ()
        times = 0

        def __iter__(self):
            Counted.times += 1
            return super().__iter__()

    many = Rows(values=Counted({"panel": str(n), "level": 1 + n % 500} for n in range(1000)))
    assert (many.levels, many.drawn) == (6, 12)
    assert Counted.times == 1


def test_a_thousand_settings_are_drawn_with_a_note():
    many = [make(trial={"learning_rate": 1e-3 * (1 + n)}) for n in range(1000)]
    assert (
        all_charts()["throughput"].rows(labelled(many)).note.endswith("12 of 1000 panels are drawn")
    )


def test_what_was_left_out_is_said_and_the_lines_stay_whole():
    many = [make(length=n, trial={"seed": seed}) for seed in range(600) for n in LENGTHS]
    drawn = all_charts()["throughput"].rows(labelled(many))
    measured = [row for row in drawn if row["part"] == "measured"]
    assert drawn.note == "500 of 600 lines are drawn"
    assert len(measured) == MOST_ROWS
    assert len({row["series"] for row in measured}) == 500
    title = chart_of(many, "throughput", per_seed=True).to_dict(validate=False)["title"]
    assert title["subtitle"][-1] == drawn.note


def test_every_network_has_a_curve_before_an_engine_has_its_second():
    curves = [(network, engine) for engine in "abc" for network in range(100)]
    kept, points, note = thin_curves(curves, lambda curve: curve[0])
    assert (len(kept), points, note) == (125, 12, "125 of 300 curves are drawn")
    assert {network for network, _ in kept} == set(range(100))
    assert {engine for _, engine in kept} == {"a", "b"}


@pytest.mark.slow
def test_ten_thousand_records_stay_small():
    record = make(steps=200)
    trials = [
        record.trial.model_copy(update={"seed": n // 4, "length": 10 * 2 ** (n % 4)})
        for n in range(10_000)
    ]
    many = [with_probes(judged(replace(record, trial=trial), 2)) for trial in trials]
    charts = {name: chart.rows(labelled(many)) for name, chart in all_charts().items()}
    sizes = [len(json.dumps(list(drawn))) for drawn in charts.values()]
    assert max(sizes) < 1_000_000
    assert sum(sizes) < 7_000_000
    assert [name for name, drawn in charts.items() if not drawn.note] == ["compiling"]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_settings_are_text_in_one_place(name):
    records = [
        with_probes(judged(make("jax:scan", trial={"task_options": {"note": text}}), 2))
        for text in (HOSTILE, "plain")
    ]
    specification = chart_of([*records, make("numpy:loop")], name).to_dict(validate=True)
    outside = json.dumps({key: value for key, value in specification.items() if key != "data"})
    assert "onerror" not in outside
    words = {
        text
        for row in specification["data"]["values"]
        for text in row.values()
        if isinstance(text, str)
    }
    assert any("onerror" in text for text in words)
    assert not any("\x1b" in text or "\ud800" in text for text in words)


def test_a_chart_without_data_says_why_and_which_have_some():
    record = make(status="failed")
    bare = replace(record, figures={"parity_error": 1e-7, "parity_tolerance": 1e-5}, curves={})
    with pytest.raises(
        UsageError, match=r"chart memory has nothing to draw: no trial ended ok .*: parity$"
    ):
        chart_of([bare], "memory")
    with pytest.raises(UsageError, match="No chart of these records has data"):
        chart_of([replace(bare, figures={})], "loss-curves")


def test_an_unknown_chart_is_named_with_the_nearest():
    with pytest.raises(
        UnknownNameError, match=r"'gradientflow'. Did you mean gradient-flow.*Available: compiling"
    ):
        Results(sweep()).chart("gradientflow")


def test_results_give_an_altair_chart():
    assert isinstance(Results(sweep()).chart("throughput"), alt.FacetChart)


def test_a_chart_can_be_dark():
    chart = Results(sweep()).chart("memory", scheme="dark").to_dict(validate=True)
    assert chart["config"]["background"] == theme.PAPER["dark"]


def test_an_unknown_scheme_is_named_with_the_nearest():
    with pytest.raises(
        UnknownNameError, match=r"scheme 'drak'. Did you mean dark\?.*Available: dark, light"
    ):
        Results(sweep()).chart("memory", scheme="drak")


def test_results_do_not_import_altair_until_a_chart_is_asked_for():
    code = "import sys; from harness_results.results import Results; import harness_results.charts"
    code += "; import harness.cli.output.pictures"
    code += "; print(sorted({'altair', 'vl_convert', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_altair_the_fix_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(UnavailableError, match=r'pip install "rnn-harness\[report\]"'):
        Results(sweep()).chart("throughput")


def test_neighbours_differ_in_colour_dash_and_shape_and_no_two_of_many_look_alike():
    looks = theme.looks([str(n) for n in range(210)])
    assert len({(look.colour, tuple(look.dash), look.shape) for look in looks}) == 210
    for look, other in pairwise(looks):
        assert look.colour != other.colour
        assert look.dash != other.dash
        assert look.shape != other.shape


def test_an_engine_looks_the_same_in_every_chart():
    scales = []
    for name in ("throughput", "compiling"):  # the second has one engine only
        text = json.dumps(chart_of(sweep(), name).to_dict(validate=False))
        scales.append('"scale": {"domain": ' + json.dumps(sorted(ENGINES)) in text)
    assert scales == [True, True]


def test_evenly_chosen_keeps_both_ends():
    assert evenly_chosen(range(5), 9) == [0, 1, 2, 3, 4]
    assert evenly_chosen(range(100), 4) == [0, 33, 66, 99]
    assert evenly_chosen(range(100), 1) == [0]


def test_buckets_leave_gaps_where_nothing_is_known():
    assert buckets([1.0, 3.0, None, math.nan, 5.0, None], 3, max) == [3.0, None, 5.0]
    assert ends(6, 3) == [2, 4, 6]
    assert buckets([], 3, max) == []


def test_thinned_lines_fit():
    lines, note = thin_lines([[0] * n for n in (10, 2000, 10)], "lines")
    assert sum(map(len, lines)) <= MOST_ROWS
    assert note is not None


def test_no_rows_have_no_panels():
    assert (Rows().drawn, Rows().levels, len(Rows())) == (0, 1, 0)
