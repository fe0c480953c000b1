"""Tables show who learns, who is fast and whose gradient dies, at any width, and run no text."""

import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from harness.contract import Record, Trial
from harness_results.compare.verdicts import compare, same_but
from harness_results.page.content import tables as page_tables
from harness_results.page.fast import who_is_fast
from harness_results.render.latex import to_latex
from harness_results.render.markup import to_html, to_markdown
from harness_results.render.terminal import plain_table, rich_table
from harness_results.study import findings
from harness_results.study.study import Study
from harness_results.study.tables import pivot as pivots
from harness_results.study.verdicts.fastest import LEGEND
from harness_results.study.verdicts.order import each_launch
from harness_results.text.format import interval, number, quantity, ratio, sparkline
from launched import in_turns, launched

HOSTILE = "</script> [bold] [/x] \x1b[31m =cmd() | `x` \ud800"
LADDER = {
    "task": {
        "ngram_losses": {"uniform": 4.174, "unigram": 3.347, "bigram": 2.484, "trigram": 2.046}
    }
}
OVER = {
    "overfitting_gap": 0.02,
    "overfitting_gap_error": 0.001,
    "best_step": 400,
    "steps_per_epoch": 31.25,
}


def pivot(records):
    return pivots.pivot(Study(records))


def make(
    engine="numpy:loop",
    cell="lstm",
    length=50,
    status="ok",
    reason=None,
    *,
    details=None,
    trial=None,
    **figures,
):
    backend, variant = engine.split(":")
    asked = {
        "backend": backend,
        "variant": variant,
        "task": "adding",
        "cell": cell,
        "length": length,
    } | (trial or {})
    loss, base, speed = (
        figures.pop("loss", 0.1),
        figures.pop("loss_baseline", 1 / 6),
        figures.pop("speed", 166e3),
    )
    defaults = {
        "loss_validation": loss, "loss_baseline": base, "loss_ratio": loss / base,
        "gradient_norm_median": 0.834, "tokens_per_second": speed,
        "tokens_per_second_low": 0.97 * speed, "tokens_per_second_high": 1.02 * speed,
        "gradient_horizon": 40, "gradient_decay": 0.9, "parity_error": 1e-7,
    }  # fmt: skip
    figures = defaults | figures if status == "ok" else {}
    return Record(Trial(**asked), status, reason, figures=figures, details=details or {})


def sweep() -> list[Record]:
    records = []
    for length in (50, 100, 200):
        for engine, speed in (
            ("numpy:loop", 166e3),
            ("torch:library", 266e3),
            ("jax:fused", 1.2e6),
        ):
            records.append(
                make(engine, "rnn", length, loss=0.1672, speed=3 * speed, gradient_horizon=8)
            )
            solved = {"loss": 6.5e-4, "solved": True, "gradient_horizon": length, "speed": speed}
            records.append(
                make(engine, "lstm", length, details={"gradient_horizon_censored": True}, **solved)
            )
    records[2] = make("torch:library", "rnn", 50, "diverged", "diverged at step 12")
    records[-1] = make("jax:fused", "lstm", 200, "out_of_memory", "peak 3.1 GB")
    over = (
        LADDER
        | OVER
        | {"overfitting_gap": 0.31, "flags": ["warm-up ended before block times were flat"]}
    )
    records += [text("numpy:loop", n, over, 128) for n in (20, 50)]
    return [*records, text("torch:loop", 50, LADDER, 128), text("torch:loop", 50, LADDER, 512)]


def text(engine: str, length: int, details: dict, hidden: int) -> Record:
    trial = {"task": "char", "seed": 1, "hidden": hidden}
    return make(engine, "gru", length, loss=1.98, loss_baseline=2.046, details=details, trial=trial)


def test_a_loss_far_above_the_baseline_costs_no_column():
    """At 80 columns it left room for nothing else, and lost its own end."""
    shown = plain_table([make(length=8, loss=2.0e36), make(length=16, loss=456.0)], 80)
    assert "2.0e+36 (1.2e+37x)" in shown
    assert "456 (2736x)" in shown
    assert "tokens/s" in shown.splitlines()[2]


def test_only_columns_that_are_shown_are_explained():
    wide, narrow = plain_table(sweep(), 120), plain_table(sweep(), 64)
    assert all(words in wide for words in ("loss: validation", "∇ norm: gradient", "horizon: lag"))
    assert "loss: validation" in narrow
    assert "tokens/s: mean" in narrow
    assert "∇ norm:" not in narrow
    assert "horizon:" not in narrow


@pytest.mark.parametrize("width", [60, 80, 120, 160, 200])
def test_the_table_at_this_width(width, snapshot):
    assert plain_table(sweep(), width) == snapshot


def test_the_markdown_table(snapshot):
    assert to_markdown(sweep()) == snapshot


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_every_network_is_there(width):
    text = plain_table(sweep(), width)
    assert max(map(len, text.splitlines())) <= width
    assert {"rnn", "lstm", "gru", "baseline"} <= set(re.findall(r"\w+", text))


@pytest.mark.parametrize(
    ("figures", "details", "mark"),
    [
        ({"solved": True}, {}, "✓"),
        ({"loss": 0.166}, {}, "≈"),
        ({"loss": 0.157}, {}, None),
        ({"loss": 0.166}, LADDER, None),  # a text at its n-gram baseline has learnt much
        ({"gradient_horizon": 24}, {}, "↓"),
        ({"gradient_horizon": 25}, {}, None),
        ({"gradient_horizon": 24}, {"gradient_horizon_censored": True}, None),
        ({"gradient_decay": 1.02}, {}, "↑"),
        ({"gradient_decay": 1.005}, {}, None),
    ],
)
def test_a_mark_stands_in_its_cell_and_in_the_legend_or_nowhere(figures, details, mark):
    text = plain_table([make(details=details, **figures)])
    assert {sign for sign in "✓≈↓↑" if sign in text} == ({mark} if mark else set())
    assert text.count(mark or "no mark") == (2 if mark else 0)


def test_a_horizon_that_was_never_reached_is_shown_as_a_bound():
    flow = {"gradient_flow": {"final": {"censored": True}}}
    record = make(gradient_horizon=99)
    assert ">99" in plain_table(
        [make(gradient_horizon=99, details={"gradient_horizon_censored": True})]
    )
    assert ">99" in plain_table([Record(record.trial, "ok", figures=record.figures, curves=flow)])
    assert ">99" not in plain_table([record])


def bold(records) -> list[str]:
    return re.findall(r"\*\*(\S+) ", to_markdown(records))


def test_the_fastest_engine_of_each_network_is_bold():
    records = [make("a:x", "rnn", speed=3e3), make("b:x", "rnn", speed=2e3), make("a:x", speed=1e3)]
    assert bold(in_turns(records)) == ["3.00k"]
    assert LEGEND in to_markdown(in_turns(records))
    assert bold(in_turns([make("a:x"), make("b:x", status="diverged", reason="x")])) == []


def test_the_fastest_cell_is_bold_where_one_engine_ran():
    assert bold(in_turns([make(cell="rnn", speed=2e3), make(cell="lstm", speed=1e3)])) == ["2.00k"]


def test_what_computes_another_function_or_was_not_proven_is_never_the_fastest():
    for other in (
        make("c:x", speed=9e3, details={"deviation": "resets"}),
        make("c:x", speed=9e3, parity_error=None),
    ):
        assert bold(in_turns([make("a:x", speed=3e3), make("b:x", speed=2e3), other])) == ["3.00k"]
        assert bold(in_turns([make("a:x", speed=3e3), other])) == []


PAIR = [make("a:x", speed=3e3), make("b:x", speed=2e3)]
EARLY = {"phase_seconds": {}}  # and no step of the horizon: an earlier version
UNDECIDED = {
    "medians of blocks against all tokens over all seconds": in_turns(
        [make("a:x", speed=3e3, details=EARLY), PAIR[1]]
    ),
    "one launch each": PAIR,
    "four launches each": in_turns(PAIR, 4),
    "one launch on one side": [launched(PAIR[0]), PAIR[1]],
    "intervals that overlap": in_turns(PAIR, spread=0.6),
    "within the noise floor": in_turns(
        [make("a:x", speed=2.04e3), make("b:x", speed=2e3)], spread=0.001
    ),
    "within the drift": [
        launched(make("a:x", speed=2.2e3)),
        launched(make("b:x", speed=2e3), minutes=60),
    ],
    "a third that cannot be told from the first": in_turns(
        [*PAIR, make("c:x", speed=2.9e3)], spread=0.1
    ),
    "seven networks, five launches": in_turns(
        [
            make(engine, speed=speed, trial={"data_seed": seed})
            for seed in range(7)
            for engine, speed in (("a:x", 3e3), ("b:x", 2e3))
        ]
    ),
    "another machine": [
        replace(
            record, environment_id=record.trial.backend, environment={"cpu": record.trial.backend}
        )
        for record in in_turns(PAIR)
    ],
}


@pytest.mark.parametrize("why", UNDECIDED)
def test_nothing_is_bold_or_fastest_where_compare_could_not_tell(why):
    records = UNDECIDED[why]
    assert "**" not in to_markdown(records)
    assert "<strong>" not in to_html(records)
    assert "textbf" not in to_latex(records)
    main_rows = [
        row for table in page_tables(records) if not table["minor"] for row in table["rows"]
    ]
    assert not [
        cell for row in main_rows for group in row["cells"] for cell in group if "best" in cell
    ]
    assert "is clearly the fastest" not in who_is_fast(records)
    assert LEGEND not in plain_table(records)


def test_speeds_of_an_earlier_version_are_compared_among_themselves_alone():
    assert bold(
        in_turns([make("a:x", speed=3e3, details=EARLY), make("b:x", speed=2e3, details=EARLY)])
    ) == ["3.00k"]
    sentence = who_is_fast(in_turns([make("a:x", speed=3e3, details=EARLY), PAIR[1]]))
    assert sentence.endswith(
        "in the one comparison: 1 with speeds of an earlier version on one side only"
    )


def test_bold_and_the_headline_are_the_verdicts_of_compare():
    """Bold and headline follow no other rule: pairs of every kind are compared with compare."""
    rng = np.random.default_rng(1)
    seen = set()
    for turn in range(40):
        count, spread = int(rng.integers(4, 8)), float(rng.choice([0.01, 0.05, 0.2]))
        first, other = (
            make("a:x", speed=1e3),
            make("b:x", speed=1e3 * float(rng.choice([1.0, 1.02, 1.1, 1.3]))),
        )
        minutes = int(rng.choice([0, 60]))
        pair = [
            launched(first, count, spread),
            launched(other, count, spread, minutes=minutes, place=1),
        ]
        sides = [
            [
                replace(r, details={"process": (turn, side, n)})
                for n, r in enumerate(each_launch(pair[side]))
            ]
            for side in (0, 1)
        ]
        (row,) = compare(*sides, key=same_but("backend", "variant")).rows
        differs = row.verdict in ("faster", "slower")
        assert bool(bold(pair)) == differs, row
        assert ("is clearly the fastest" in who_is_fast(pair)) == differs
        seen.add(row.verdict)
    assert {"faster", "cannot_tell"} <= seen


def test_only_what_differs_is_a_row_label_and_what_follows_the_length_is_none():
    records = [
        make(length=n, trial={"chrono": n, "hidden": h}) for n in (50, 100) for h in (64, 128)
    ]
    table = pivot(records)
    assert table.axes == ("cell", "hidden", "engine")
    assert [row.labels for row in table.rows[1:]] == [
        ("lstm", "64", "numpy:loop"),
        ("lstm", "128", "numpy:loop"),
    ]
    assert "chrono by length" in table.settings
    assert "hidden" not in table.settings
    assert "batch 32" in table.settings


@pytest.mark.parametrize("name", ["layers", "hidden", "batch", "seed", "steps", "threads"])
def test_trials_that_differ_in_anything_have_rows_of_their_own(name):
    table = pivot([make(trial={name: value}) for value in (2, 3)])
    assert [row.labels[1] for row in table.rows if not row.reference] == ["2", "3"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("seed", (20240101, 20240102)),
        ("learning_rate", (0.0012345678, 0.0012345679)),
        ("evaluate_every", (1000001, 1000002)),
    ],
)
def test_values_that_agree_in_six_digits_have_rows_of_their_own(name, values):
    records = [
        make(trial={name: value}, loss=loss) for value, loss in zip(values, (0.1, 0.2), strict=True)
    ]
    rows = [row for row in pivot(records).rows if not row.reference]
    assert [row.labels[1] for row in rows] == list(map(str, values))
    assert [row.entries[50][0].text[:5] for row in rows] == ["0.100", "0.200"]


def test_a_number_is_no_longer_than_it_takes():
    assert (
        "adam 0.001 · clip 5 ·"
        in pivot([make(trial={"learning_rate": 1e-3, "clip_norm": 5.0})]).settings
    )


def test_records_that_no_setting_tells_apart_are_numbered_and_none_is_lost():
    four = [
        make(trial={"task_options": {"symbols": value}}, loss=loss)
        for value, loss in ((4, 0.1), (4.0, 0.2))
    ]
    for records in (four, [make(loss=0.1), make(loss=0.2), make(length=100)]):
        table = pivot(records)
        rows = [row for row in table.rows if not row.reference]
        assert table.axes == ("cell", "record", "engine")
        assert [row.labels[1] for row in rows] == ["1", "2"]
        assert [row.entries[50][0].text[:5] for row in rows] == ["0.100", "0.200"]


def test_a_task_option_that_differs_is_a_row_label():
    table = pivot([make(trial={"task_options": {"symbols": value}}) for value in (4, 8)])
    assert table.axes == ("cell", "symbols", "engine")


def test_a_trial_without_figures_shows_its_status_and_below_the_reason_once():
    failed = [
        make(engine, "rnn", n, "unsupported", "no such cell")
        for engine in ("a:x", "b:x")
        for n in (50, 100)
    ]
    text = plain_table([make(), *failed], 200)
    assert text.count("no such cell") == 1
    assert "n/a: rnn a:x T=50,100; rnn b:x T=50,100: unsupported: no such cell" in text


def test_a_reason_that_begins_with_the_status_does_not_repeat_it():
    assert ": diverged at step 12\n" in plain_table(
        [make(status="diverged", reason="diverged at step 12")]
    )


def test_a_failed_trial_shows_no_speed():
    record = make()
    failed = Record(record.trial, "parity_failed", "weight_ih_l0 differs", figures=record.figures)
    assert "166k" not in plain_table([failed])
    assert "parity failed" in plain_table([failed])


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({}, "validation 0.100, training data 0.0800; validation was best at step 400"),
        ({"best_step": 1000}, None),
        ({"overfitting_gap": 0.004}, None),
        ({"overfitting_gap": None}, None),
        ({"overfitting_gap_error": 0.0067}, None),  # three standard errors are more than the gap
        ({"overfitting_gap_error": None}, None),
        ({"steps_per_epoch": None}, None),  # every batch is fresh, or nobody knows
        ({"steps_per_epoch": 1000.0}, None),  # no sequence was seen twice
    ],
)
def test_over_fitting_is_told_if_data_came_again_and_the_gap_is_beyond_noise(changed, line):
    text = plain_table([make(details=OVER | changed)], 200)
    assert (line in text) if line else ("over-fitting" not in text)


def test_a_gap_on_a_solved_task_is_noise():
    record = make(
        loss=1e-4, details=OVER | {"overfitting_gap": 5e-5, "overfitting_gap_error": 1e-6}
    )
    assert findings.overfitting(record) is None


def test_the_criterion_of_what_is_solved_is_told_once():
    records = [
        make(length=n, solved=True, details={"criterion": "accuracy of at least 0.99 (ours)"})
        for n in (50, 100)
    ]
    text = plain_table(
        [*records, make(length=200, solved=False, details={"criterion": "another"})], 200
    )
    assert text.count("solved: accuracy of at least 0.99 (ours)") == 1
    assert "another" not in text


@pytest.mark.parametrize(
    ("solved", "end"), [(True, "solved at the end"), (False, "not solved at the end")]
)
def test_what_was_solved_and_lost_again_is_told(solved, end):
    details = {"solved_lost_at": 600}
    text = plain_table([make(solved=solved, steps_to_solve=400, details=details)], 200)
    assert (
        f"lost again: lstm numpy:loop T=50: solved first at step 400, no longer at step 600, {end}"
        in text
    )
    assert "lost again" not in plain_table([make(solved=True, steps_to_solve=400)], 200)


def test_what_an_earlier_version_measured_is_named_for_what_it_is():
    early = {"phase_seconds": {"train": 1.0}, "gradient_horizon_censored": False}
    now = early | {"gradient_horizon_step": 150}
    records = [
        make("numpy:loop", "lstm", details=early),
        make("numpy:loop", "rnn", details=early),
        make("torch:library", "lstm", details=now),
    ]
    table = " ".join(plain_table(records).split())
    assert "earlier version: lstm numpy:loop T=50: horizon of h alone" in table
    assert "horizon of h alone" not in plain_table(records[1:])
    assert "tokens/s: median of blocks, by an earlier version, 95 %" in table
    assert "by an earlier version" not in plain_table(records[2:])
    of_five = " ".join(plain_table(in_turns(records[:1])).split())
    assert (
        "tokens/s: median of 5 launches, each the median of blocks, by an earlier version, 95 %"
        in of_five
    )
    assert "by an earlier version" not in plain_table(in_turns(records[2:]))


def test_further_scores_stand_below_the_table_by_their_names():
    records = [
        make(length=n, details={"scores": {"exact_match": n / 1000, "[x]": None}})
        for n in (50, 100)
    ]
    text = plain_table(records, 200)
    assert "exact_match: lstm numpy:loop T=50 0.0500, T=100 0.100" in text
    assert "[x]" not in text


def test_the_baseline_of_several_validation_samples_is_the_exact_one():
    exact = {"loss_baseline_exact": 1 / 6}
    seeds = [
        make(loss_baseline=b, details=exact, trial={"data_seed": n})
        for n, b in enumerate((0.17, 0.16))
    ]
    assert re.search(r"^baseline .* 0\.167 \(1\.00x\)", plain_table(seeds, 200), re.MULTILINE)
    assert re.search(r"^baseline .* 0\.170 \(1\.00x\)", plain_table(seeds[:1], 200), re.MULTILINE)


def printed(renderable, encoding="utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    Console(file=file, width=100, force_terminal=True, color_system=None).print(renderable)
    file.flush()
    return file.buffer.getvalue().decode(encoding)


def test_a_terminal_without_unicode_gets_ascii():
    text = printed(rich_table(sweep()), "ascii")
    assert "solved" in text
    assert re.search(r" 50 \| +0\.167", text)


def test_hostile_text_is_shown_and_never_acted_upon():
    records = [make(status="failed", reason=HOSTILE), make(length=60, details={"flags": [HOSTILE]})]
    text = printed(rich_table(records))
    assert "\x1b" not in text
    assert "[bold] [/x]" in text
    html = to_html(records)
    assert "<script" not in html.lower()
    assert "</script" not in html.lower()
    assert r"\| \`x\`" in to_markdown(records)
    assert "\x1b" not in to_markdown(records) + html


@settings(max_examples=60, deadline=None)
@given(
    reason=st.one_of(st.none(), st.text()),
    flag=st.text(),
    figures=st.dictionaries(
        st.sampled_from(
            [
                "loss_validation",
                "loss_ratio",
                "tokens_per_second",
                "gradient_horizon",
                "gradient_decay",
            ]
        ),
        st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    ),
)
def test_any_record_can_be_shown(reason, flag, figures):
    record = make(details={"flags": [flag]}, **figures)
    failed = make(length=60, status="failed", reason=reason)
    assert plain_table([record, failed])
    assert to_html([record, failed])
    assert to_markdown([record, failed]).count("\n| lstm") == 1


def test_flags_and_notes_stand_below_the_table_once():
    details = {"flags": ["short blocks"], "notes": ["dropout: not comparable"]}
    text = plain_table([make(length=n, details=details) for n in (50, 100)], 120)
    assert "flag: lstm numpy:loop T=50,100: short blocks\n" in text
    assert "T=50,100: dropout: not comparable\n" in text


def test_checkpoints_stand_in_the_caption_or_as_an_axis_where_they_are_used():
    plain, kept = make(), make()
    kept = replace(kept, trial=kept.trial.model_copy(update={"checkpoint": "auto"}))
    assert "checkpoint" not in plain_table([plain], 160)
    assert "checkpoint auto" in plain_table([kept], 160)
    both = plain_table([plain, kept], 160)
    assert "checkpoint" in both
    assert all(re.search(rf"\n(lstm)? +{value} +numpy:loop", both) for value in ("off", "auto")), (
        both
    )


UNUSUAL = {
    "task_options": {"split": 0.8}, "layers": 2, "hidden": 7, "batch": 14, "steps": 77,
    "optimizer": "sgd", "learning_rate": 0.07, "schedule": "cosine", "schedule_steps": 9,
    "schedule_factor": 0.5, "momentum": 0.3, "decay": 0.9, "clip_norm": 0.5, "clip_value": 0.6,
    "initialisation": "glorot", "forget_bias": 1.5, "chrono": 33, "dropout": 0.2, "seed": 4,
    "data_seed": 0, "evaluation_seed": 0, "dtype": "float64", "device": "cuda", "threads": 3,
    "checkpoint": 5, "evaluate_every": 11, "devices": 2, "python": "base",
    "evaluate_at": (60, 80), "embedding": 5, "tied_readout": True, "patience": 3,
    "beta1": 0.5, "beta2": 0.5, "epsilon": 0.1, "epsilon_in_root": True, "initial_square": 1.5,
    "weight_decay": 0.5, "warmup_steps": 4, "schedule_start": 6,
}  # fmt: skip
NEEDED = {
    "schedule_steps": {"schedule": "cosine"}, "momentum": {"optimizer": "sgd"},
    "decay": {"optimizer": "rmsprop"}, "schedule_factor": {"schedule": "exponential"},
    "schedule": {"schedule_steps": 9}, "schedule_start": {"schedule": "cosine"},
    "initial_square": {"optimizer": "rmsprop"}, "tied_readout": {"embedding": 7, "hidden": 7},
    "patience": {"evaluate_every": 11},
}  # fmt: skip


def test_whatever_field_differs_from_its_default_is_in_the_caption():
    fixed = {"backend", "variant", "task", "cell", "length"}  # row labels, the title, the columns
    assert set(Trial.model_fields) - fixed == set(UNUSUAL)
    usual = pivot([make()]).settings.split(" · ")
    for name, value in UNUSUAL.items():
        settings = pivot([make(trial={**NEEDED.get(name, {}), name: value})]).settings.split(" · ")
        expected = {
            "task_options": "split 0.8",
            "clip_norm": "clip 0.5",
            "optimizer": "sgd 0.001",
            "dtype": "float64",
        }
        expected |= {
            "learning_rate": "adam 0.07",
            "device": "cuda",
            "threads": "3 threads",
            "devices": "2 devices",
            "evaluate_at": "evaluate at 60, 80",
            "tied_readout": "tied readout yes",
            "epsilon_in_root": "epsilon in root yes",
        }
        assert expected.get(name, f"{name.replace('_', ' ')} {value}") in settings, name
        assert len(settings) >= len(usual)


def test_an_option_that_a_trial_leaves_out_has_the_default_of_its_task():
    details = {"task_defaults": {"order": "carried"}}
    trials = ({"task_options": {}}, {"task_options": {"order": "shuffled"}})
    table = pivot([make(trial=trial, details=details) for trial in trials])
    column = table.axes.index("order")
    orders = {row.labels[column] for row in table.rows if not row.reference}
    assert orders == {"carried", "shuffled"}


def test_an_option_of_a_task_is_in_the_caption_unless_it_has_its_default():
    def caption(options, *defaults):
        trial = {"task_options": options}
        records = [
            make(f"a{n}:x", trial=trial, details=details) for n, details in enumerate(defaults)
        ]
        return pivot(records).settings

    usual = {"task_defaults": {"data": "fresh", "split": 0.9}}
    assert "data" not in caption({"data": "fresh"}, usual, usual)
    assert "data fixed" in caption({"data": "fixed"}, usual, usual)
    assert "data fresh" in caption({"data": "fresh"}, {}, {})
    assert "data" not in caption({"data": "fresh"}, usual, {})
    assert "data fresh" in caption({"data": "fresh"}, usual, {"task_defaults": {"data": "fixed"}})
    assert "task.batch 3" in caption({"batch": 3}, usual, usual)


def test_a_rate_that_all_share_is_told_where_the_optimizers_differ():
    shared = pivot(
        [make(trial={"optimizer": name, "learning_rate": 0.07}) for name in ("adam", "sgd")]
    ).settings
    assert "learning rate 0.07" in shared.split(" · ")


def test_no_records_give_no_table():
    assert plain_table([]).strip() == ""
    assert to_markdown([]) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (float("nan"), "-"), (0.16667, "0.167"), (12.34, "12.3"), (2.0, "2.00"),
     (65, "65"), (0.0, "0"), (4.1e-5, "4.1e-05"), (123456.0, "1.2e+05"), (999.9, "1000"),
     (-0.5, "-0.500")],
)  # fmt: skip
def test_a_number_keeps_three_digits(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (166_000, "166k"),
        (1_660_000, "1.66M"),
        (999_999, "1.00M"),
        (950, "950"),
        (0.5, "0.500"),
        (0, "0.00"),
    ],
)
def test_a_quantity_has_a_prefix(value, text):
    assert quantity(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.97, "0.97x"), (0.0042, "0.004x"), (1e-5, "<0.001x"), (0.0, "0x"), (99.99, "99.99x"),
     (498.75, "499x"), (2736.57, "2737x"), (1.2e32, "1.2e+32x"), (math.inf, "-")],
)  # fmt: skip
def test_a_ratio_is_a_multiple(value, text):
    assert ratio(value) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (97e3, 102e3, "100k ±3%"),
        (99.9e3, 100.1e3, "100k ±1%"),
        (60e3, 110e3, "100k ±40%"),
        (1e3, 300e3, "100k ±>99%"),
        (None, 1, "100k"),
    ],
)
def test_an_interval_is_told_by_its_farther_end(low, high, text):
    assert interval(100e3, low, high) == text


def test_a_sparkline_has_gaps_where_nothing_is_known():
    assert sparkline([0, None, 7]) == "▁ █"
    assert sparkline([1, 10, 100, float("inf"), 1000], logarithmic=True) == "▁▃▆ █"
    assert sparkline([None]) == ""
    assert len(sparkline(range(1000), 20)) == 20
    assert sparkline([3, 3]) == "▁▁"
