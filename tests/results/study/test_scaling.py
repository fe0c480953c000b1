"""Scaling in T: the fit and its interval are right, and compiling pays after the right steps."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest

import harness
import paths
from harness.contract import Record, Trial
from harness_results.render.markup import to_html, to_markdown
from harness_results.render.terminal import plain_table
from harness_results.results import Results
from harness_results.study.break_even import BreakEven, break_even
from harness_results.study.launches import combine
from harness_results.study.scaling import scaling, time_steps
from harness_results.study.verdicts.fit import line
from harness_results.text.format import within

LENGTHS = (25, 50, 100, 200)
BATCH, EXTRA = 32, 20  # copy runs T + 2K steps


def make(
    engine="a:x",
    length=50,
    step=None,
    *,
    overhead=1e-3,
    slope=2e-5,
    compiling=None,
    trial=None,
    **figures,
):
    backend, variant = engine.split(":")
    asked = {
        "backend": backend,
        "variant": variant,
        "task": "copy",
        "cell": "lstm",
        "batch": BATCH,
        "length": length,
    }
    steps = length + EXTRA
    seconds = overhead + slope * steps if step is None else step
    known = {
        "tokens_per_second": BATCH * steps / seconds,
        "step_seconds_median": seconds, "compile_seconds": compiling,
        "first_step_seconds": 3 * seconds, "peak_memory_bytes": 1_000_000 + 4096 * steps,
        "parity_error": 1e-7,
    }  # fmt: skip
    return Record(Trial(**asked | (trial or {})), "ok", figures=known | figures)


def test_an_exact_line_is_found_exactly():
    (found,) = scaling([make(length=n) for n in LENGTHS])
    for estimate, value in ((found.step_overhead_seconds, 1e-3), (found.time_step_seconds, 2e-5)):
        assert estimate.value == pytest.approx(value, rel=1e-9)
        assert estimate.high - estimate.low < 1e-9
    assert found.memory_bytes_per_time_step.value == pytest.approx(4096)
    assert found.memory_bytes == {n: 1_000_000 + 4096 * (n + EXTRA) for n in LENGTHS}
    assert found.time_steps == tuple(n + EXTRA for n in LENGTHS)
    assert found.compile_seconds == (None, None)
    assert found.break_even == ()


def test_an_estimate_that_rounds_to_nothing_has_no_sign():
    assert within(-0.04, 4.6) == "0.0 ±4.6"
    assert within(-2.0, 4.6) == "-2.0 ±4.6"


def test_a_power_law_has_its_exponent():
    (found,) = scaling([make(length=n, step=1e-5 * (n + EXTRA) ** 1.5) for n in LENGTHS])
    assert found.exponent.value == pytest.approx(1.5)


def test_memory_has_its_exponent_where_it_is_known():
    kept = [make(length=n, peak_memory_bytes=round(1e6 * (n + EXTRA) ** 0.5)) for n in LENGTHS]
    assert scaling(kept)[0].memory_exponent.value == pytest.approx(0.5, abs=1e-5)
    for unknown in (None, 0):
        (found,) = scaling([make(length=n, peak_memory_bytes=unknown) for n in LENGTHS])
        assert found.memory_exponent is None
        assert found.memory_bytes == ({} if unknown is None else dict.fromkeys(LENGTHS, 0.0))
    assert "memory against T" not in plain_table(
        [make(length=n, peak_memory_bytes=None) for n in LENGTHS]
    )


def test_a_fit_and_its_interval_agree_with_a_textbook():
    # Weisberg's formulas by hand: t = 1..5, y below, Sxx = 10, slope 0.6, intercept 2.2, s^2 = 2.4
    # / 3, t(3) = 3.182446
    intercept, slope = line([1, 2, 3, 4, 5], [2, 4, 5, 4, 5])
    assert (intercept.value, slope.value) == (pytest.approx(2.2), pytest.approx(0.6))
    assert slope.high - slope.value == pytest.approx(3.182446 * math.sqrt(0.8 / 10), rel=1e-6)
    assert intercept.value - intercept.low == pytest.approx(
        3.182446 * math.sqrt(0.8 * (1 / 5 + 9 / 10)), rel=1e-6
    )


def test_weights_make_the_error_relative():
    t, y = [1.0, 2.0, 100.0, 200.0], [1.1, 1.9, 101.0, 198.0]
    intercept, slope = line(t, y, [1 / value for value in y])
    weights = np.diag(1 / np.asarray(y) ** 2)
    columns = np.stack([np.ones(4), t], axis=1)
    wanted = np.linalg.solve(columns.T @ weights @ columns, columns.T @ weights @ y)
    assert [intercept.value, slope.value] == pytest.approx(list(wanted))


def test_a_scaling_weighs_every_length_by_its_own_time():
    seconds = (1.1e-3, 1.9e-3, 5e-3, 7e-3)
    (found,) = scaling([make(length=n, step=s) for n, s in zip(LENGTHS, seconds, strict=True)])
    wanted = line(found.time_steps, seconds, [1 / value for value in seconds])
    assert (found.step_overhead_seconds, found.time_step_seconds) == wanted
    assert wanted != line(found.time_steps, seconds)


def test_machines_are_not_mixed_in_one_fit():
    records = [replace(make(length=n), environment_id=f"e{n % 2}") for n in (25, 50, 101, 200)]
    assert scaling(records) == []
    assert len(scaling([*records, replace(make(length=401), environment_id="e1")])) == 1


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(5)
    t = np.array([25.0, 50, 100, 200, 400])
    truth, covered = (1e-3, 2e-5), np.zeros(2)
    for _ in range(400):
        y = (truth[0] + truth[1] * t) * (1 + 0.03 * rng.standard_normal(5))
        covered += [e.low <= v <= e.high for e, v in zip(line(t, y, 1 / y), truth, strict=True)]
    assert (
        np.abs(covered / 400 - 0.95) < 0.03
    ).all()  # 0.03: under three standard errors of 400 draws


def test_two_lengths_are_too_few_and_failures_do_not_count():
    failed = Record(make(length=200).trial, "timeout", "timeout", figures=make(length=200).figures)
    assert scaling([make(length=25), make(length=50), failed]) == []


def test_each_network_and_engine_is_fitted_alone():
    records = [
        make(engine, n, slope=slope * hidden, trial={"hidden": hidden})
        for engine, slope in (("a:x", 1e-7), ("b:x", 2e-7))
        for hidden in (64, 128)
        for n in LENGTHS
    ]
    found = [
        (one.records[0].trial.engine, one.records[0].trial.hidden, one.time_step_seconds)
        for one in scaling(records)
    ]
    assert {(engine, hidden): round(slope.value, 9) for engine, hidden, slope in found} == {
        ("a:x", 64): 6.4e-6, ("b:x", 64): 12.8e-6, ("a:x", 128): 12.8e-6, ("b:x", 128): 25.6e-6,
    }  # fmt: skip


def test_a_setting_that_follows_the_length_parts_nothing_unless_it_costs_time():
    assert (
        len(scaling([make(length=n, trial={"chrono": n, "steps": 1000 - n}) for n in LENGTHS])) == 1
    )
    assert scaling([make(length=n, trial={"hidden": n}) for n in LENGTHS]) == []
    seeds = [make(length=n, trial={"seed": seed}) for n in LENGTHS for seed in (0, 1)]
    assert [len(one.records) for one in scaling(seeds)] == [4, 4]


def test_time_steps_are_those_of_each_launch_even_where_launches_differ_much():
    (record,) = combine([make(length=50, step=1e-3), make(length=50, step=3e-3)])
    product = record.figures["tokens_per_second"] * record.figures["step_seconds_median"] / BATCH
    assert round(product) != 70  # medians of two launches are no longer each other's inverse
    assert time_steps(record) == 70
    assert time_steps(Record(record.trial, "ok")) is None


def test_time_steps_are_exact_where_the_record_counts_its_tokens():
    blocks = (
        1.0e-3,
        2.0e-3,
    )  # an even number of blocks: median rate times median seconds is not the count
    rates = [BATCH * 1024 / seconds for seconds in blocks]
    uneven = make(
        length=1004, tokens_per_second=sum(rates) / 2, step_seconds_median=sum(blocks) / 2
    )
    assert time_steps(uneven) == 1152
    counted = replace(uneven, details={"tokens_per_step": BATCH * 1024.0})
    assert time_steps(counted) == 1024
    assert time_steps(combine([counted, counted])[0]) == 1024
    assert time_steps(replace(counted, figures={})) is None


def test_compiling_pays_when_both_have_taken_the_same_time():
    quick, slow = make("j:c", step=1e-3, compiling=2.0), make("n:x", step=5e-3)
    found = break_even(quick, [slow])
    n = found.steps
    assert 2.0 + 3e-3 - 1e-3 + n * 1e-3 == pytest.approx(15e-3 - 5e-3 + n * 5e-3)
    assert found.against == "n:x"


def test_compiling_is_held_against_the_fastest_of_the_slower_engines():
    rivals = [make("n:x", step=9e-3), make("t:x", step=2e-3), make("t:y", step=0.5e-3)]
    assert break_even(make("j:c", step=1e-3, compiling=2.0), rivals).against == "t:x"


def test_compiling_never_pays_where_nothing_is_slower_and_at_once_where_it_costs_less():
    quick = make("j:c", step=1e-3, compiling=2.0)
    assert break_even(quick, [make("t:x", step=0.5e-3)]) == BreakEven(50, math.inf, None)
    assert break_even(quick, [make("k:c", step=2e-3, compiling=9.0)]).steps == 0
    assert break_even(quick, []) is None
    assert break_even(quick, [make("t:x", first_step_seconds=None)]) is None


def test_what_computes_another_function_neither_overtakes_nor_is_overtaken():
    other = replace(make("t:x", step=2e-3), details={"deviation": "resets before the product"})
    quick = make("j:c", step=1e-3, compiling=2.0)
    assert break_even(quick, [make("n:x", step=9e-3), other]).against == "n:x"
    assert break_even(quick, [other]) is None
    assert break_even(replace(quick, details=other.details), [make("n:x", step=9e-3)]) is None


def compiled():
    quick = [make("j:c", n, overhead=1e-4, slope=1e-5, compiling=1 + n / 100) for n in LENGTHS]
    return [*quick, *(make("n:x", n, slope=3e-5) for n in LENGTHS)]


def test_compiling_is_told_at_the_shortest_and_the_longest_length():
    first = scaling(compiled())[0]
    assert first.compile_seconds == (1.25, 3.0)
    assert [(one.length, one.against) for one in first.break_even] == [(25, "n:x"), (200, "n:x")]
    assert Results(compiled()).scaling() == scaling(compiled())


@pytest.mark.parametrize("width", [100, 120])
def test_the_tables_at_this_width(width, snapshot):
    text = plain_table(limited(), width)
    assert max(map(len, text.splitlines())) <= width
    assert text == snapshot


def limited():
    facts = {
        "flops_per_second": 1.5e10,
        "fraction_of_peak": 0.0731,
        "fraction_of_serial_limit": 0.42,
    }
    return [
        Record(record.trial, "ok", figures={**record.figures, **facts}) for record in compiled()
    ]


def test_narrow_terminals_get_the_columns_in_blocks():
    text = plain_table(compiled(), 60)
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("25-200") == 2
    assert text.count("1.18M") == 2
    assert "log-log" in text


def test_markdown_and_html_have_the_tables_too():
    text, page = to_markdown(limited()), to_html(limited())
    for title in (
        "copy: scaling in T",
        "copy: memory against T",
        "copy: compiling",
        "copy: limits",
    ):
        assert f"#### {title}" in text
        assert f"<h4>{title}</h4>" in page
    assert "| lstm | n:x | 25-200 | 1.000 ±\\<0.001 ms | 30.00 ±\\<0.01 us |" in text


def test_nothing_is_added_where_nothing_is_known():
    text = plain_table([make(length=25), make(length=50)])
    assert not any(word in text for word in ("scaling", "compiling", "limits"))


def test_the_python_of_the_docs_runs(monkeypatch, capsys):
    text = (paths.ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    monkeypatch.setattr(harness, "run", lambda **_: Results(compiled()), raising=False)
    exec(code, {})
    assert "n:x 30.0 us per time step, 30.0 to 30.0" in capsys.readouterr().out
