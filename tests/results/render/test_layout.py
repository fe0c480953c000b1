"""What a terminal shows of a table: columns in order of priority, bars, and a cut if it is long."""

import io
import re

import pytest
from rich.cells import cell_len
from rich.console import Console

from builders import trial_of
from harness.contract import Record
from harness_results.render.layout import COLUMN_PRIORITY, Layout
from harness_results.render.shortening import MOST_LENGTHS, MOST_NOTES, MOST_ROWS
from harness_results.render.terminal import plain_table, rich_table
from harness_results.study.study import Study
from harness_results.study.tables import pivot as pivots
from harness_results.study.tables.sections import id_digits, report
from harness_results.study.tables.trends import NOTE
from harness_results.text.format import bars


def pivot(records):
    return pivots.pivot(Study(records))


def make(
    engine="numpy:native",
    cell="lstm",
    length=50,
    status="ok",
    loss=0.1,
    speed=166e3,
    base=1 / 6,
    **trial,
):
    asked = {"task": "adding", "cell": cell, "length": length} | trial
    figures = {
        "loss_validation": loss, "loss_baseline": base,
        "loss_ratio": None if base is None else loss / base, "tokens_per_second": speed,
        "tokens_per_second_low": 0.97 * speed, "tokens_per_second_high": 1.02 * speed,
        "gradient_norm_median": 0.834, "gradient_horizon": length, "gradient_decay": 0.9,
        "parity_error": 1e-7,
    }  # fmt: skip
    return Record(
        trial_of(engine, **asked), status, None if status == "ok" else "no memory", figures=figures
    )


def sweep(**trial) -> list[Record]:
    return [
        make(engine, cell, length, loss=0.1 / length, speed=speed / length, **trial)
        for engine, speed in (("numpy:native", 1e6), ("torch:library", 2e6))
        for cell in ("rnn", "lstm")
        for length in (50, 100, 200)
    ]


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (40, ("tokens/s", "∇ norm", "horizon", "id")),
        (60, ("∇ norm", "horizon", "id")),
        (70, ("∇ norm", "horizon")),
        (80, ("∇ norm",)),
        (200, ()),
    ],
)
def test_columns_are_left_out_in_a_stated_order(width, left_out):
    layout = Layout.of(report(sweep()).tables[0], width)
    assert layout.left_out == left_out
    text = plain_table(sweep(), width)
    assert (f"no room at this width for {', '.join(left_out)};" in " ".join(text.split())) == bool(
        left_out
    )


@pytest.mark.parametrize("width", range(24, 140, 4))
def test_what_is_left_out_is_last_in_the_order_unless_something_narrower_found_room(width):
    layout = Layout.of(report(sweep()).tables[0], width)
    last = len(COLUMN_PRIORITY)
    left_out = [name for name in layout.left_out if name in COLUMN_PRIORITY]
    first = min(map(COLUMN_PRIORITY.index, left_out), default=last)
    kept = [name for name in COLUMN_PRIORITY if name not in layout.left_out]
    assert kept[:first] == list(COLUMN_PRIORITY[:first])
    assert "loss" in kept


@pytest.mark.parametrize("width", [20, 33, 60, 80, 120, 200])
def test_no_row_is_broken_or_wider_than_the_terminal(width):
    records = sweep() + sweep(learning_rate=0.00123456789, schedule="cosine", schedule_steps=77)
    lines = plain_table(records, width).splitlines()
    assert max(map(cell_len, lines)) <= width
    rows = [line for line in lines if "│" in line]
    names_baseline_and_trials = 1 + 1 + len(records)
    assert len(rows) == (names_baseline_and_trials if width >= 60 else 0)  # labels fill the line


def test_lengths_are_side_by_side_in_every_task_or_in_none():
    short = [make(length=n, task="copy") for n in (5, 10)]
    assert "│ T = 5 ─" in plain_table(short, 140)
    assert "│ T = 5 ─" not in plain_table([*short, *sweep()], 140)
    assert "│ T = 50 ─" in plain_table([*short, *sweep()], 200)


def test_every_trial_has_its_id_in_a_column_or_below():
    records = sweep()
    for width in (100, 200):
        text = plain_table(records, width)
        assert all(record.trial.trial_id[:4] in text for record in records)
    first = [record.trial.trial_id[:4] for record in records[:3]]
    line = f"ids: rnn numpy:native: T=50 {first[0]}, T=100 {first[1]}, T=200 {first[2]}"
    assert line in text
    assert text.count("ids:") == len(records) // 3


def test_ids_have_as_many_digits_as_tell_many_trials_apart():
    records = [make(seed=seed) for seed in range(2000)]
    digits = id_digits(records)
    assert digits > id_digits(records[:10]) == 4
    assert len({record.trial.trial_id[: digits - 2] for record in records}) == len(records)


def test_an_engine_that_all_share_is_in_the_caption_if_the_columns_need_its_room():
    records = [make(length=n, loss=0.1) for n in (50, 100)]
    head = "adding   numpy:native · hidden"
    assert [plain_table(records, width).startswith(head) for width in (60, 80)] == [True, False]


def test_no_figure_is_cut_in_a_pipe_if_eleven_settings_vary():
    varied = {
        "layers": 2, "hidden": 64, "steps": 77, "optimizer": "sgd", "learning_rate": 0.5,
        "clip_norm": 1.0, "dropout": 0.5, "initialisation": "glorot", "forget_bias": 3.0,
        "evaluate_every": 75,
    }  # fmt: skip
    records = [make(seed=0), *(make(seed=1, **{name: value}) for name, value in varied.items())]
    text = plain_table(records, 120)
    assert text.count(" 0.100 (0.60x)") == len(records)


def test_a_label_that_does_not_fit_is_cut_visibly():
    assert "nump…" in plain_table(sweep(), 24)
    assert "…" not in plain_table(sweep(), 80)


def test_bars_show_the_loss_against_the_baseline_and_the_speed_against_the_rows_own_best():
    records = [make(length=n, loss=loss, speed=speed) for n, loss, speed in
               ((50, 1 / 6, 4e5), (100, 1 / 12, 2e5), (200, 1e-4, 1e5))]  # fmt: skip
    (row,) = (row for row in pivot(records).rows if not row.reference)
    assert row.trends == ("█▅▁", "█▅▃")
    text = plain_table(records, 200)
    assert re.search(r"\nlstm +numpy:native │ █▅▁ +█▅▃ +│", text)
    assert NOTE.split(":")[0] in " ".join(text.split())


def test_a_loss_above_the_baseline_stretches_the_scale_to_twice_the_baseline_at_most():
    def drawn(*losses):
        records = [
            make(length=n, loss=loss, base=1.0) for n, loss in zip((50, 100), losses, strict=True)
        ]
        return pivot(records).rows[-1].trends[0]

    assert (drawn(1.0, 0.5), drawn(1.6, 0.8), drawn(1e9, 1.0), drawn(2e307, 0.0)) == (
        "█▅",
        "█▅",
        "█▅",
        "█▁",
    )


def test_a_failed_trial_is_a_gap_in_the_bars_and_figures_that_nobody_has_have_none():
    failed = [make(length=50), make(length=100, status="failed"), make(length=200)]
    assert pivot(failed).rows[-1].trends == ("▅ ▅", "█ █")
    no_loss = [Record(r.trial, "ok", figures={"tokens_per_second": 1e3}) for r in failed]
    assert pivot(no_loss).trends == ("tok/s",)
    assert pivot(no_loss[:1]).trends == ()
    assert "over T" not in plain_table(no_loss[:1])


def test_without_a_baseline_the_bars_go_up_to_the_largest_loss():
    records = [make(length=n, loss=loss, base=None) for n, loss in ((50, 4.0), (100, 2.0))]
    assert pivot(records).rows[-1].trends[0] == "█▅"


@pytest.mark.parametrize(
    ("values", "top", "drawn"),
    [
        ([0.0, 0.5, 1.0, 2.0], 1.0, "▁▅██"),
        ([None, 1.0, None], 1.0, " █"),
        ([1.0], 0.0, "▁"),
        ([], 1.0, ""),
    ],
)
def test_bars_go_from_zero_to_the_top(values, top, drawn):
    assert bars(values, top, 16) == drawn


def test_many_lengths_share_bars():
    assert len(bars([1.0] * 1000, 1.0, 16)) == 16


@pytest.mark.parametrize(
    ("figures", "details", "mark"),
    [
        ({"parity_error": None}, {}, "?"),
        ({"parity_error": None}, {"deviation": "resets late"}, "≠"),
        ({"parity_error": 1e-7}, {}, ""),
    ],
)
def test_a_speed_without_proof_is_marked_with_a_legend(figures, details, mark):
    whole = make()
    record = Record(whole.trial, "ok", figures={**whole.figures, **figures}, details=details)
    text = plain_table([record], 160)
    assert [sign for sign in "?≠" if f"±3% {sign}" in text] == ([mark] if mark else [])
    assert ("unverified: its gradients" in text) == (mark == "?")
    assert ("computes another function" in text) == (mark == "≠")


def on_a_terminal(records, width=100) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=True, color_system=None).print(
        rich_table(records)
    )
    return file.getvalue()


def many(seeds, lengths=(50,)) -> list[Record]:
    return [make(length=n, data_seed=seed) for seed in range(seeds) for n in lengths]


@pytest.mark.slow
def test_a_terminal_shows_some_rows_of_a_long_table_and_how_to_see_all():
    text = on_a_terminal(many(10_000))
    assert text.count("numpy:native") == MOST_ROWS
    assert len(text.splitlines()) < MOST_ROWS + 20
    assert (
        f"shown: {MOST_ROWS} of 10,000 rows; choose with -t, -c, -b, -T; all: pipe it"
        in " ".join(text.split())
    )


def test_of_a_long_table_every_cell_and_engine_is_seen_and_what_would_follow_it_is_left_out():
    seeds = range(50)
    records = [make(engine, cell, n, data_seed=seed) for cell in ("rnn", "lstm") for seed in seeds
               for engine in ("a:x", "b:x") for n in (25, 50, 100)]  # fmt: skip
    timed = [
        Record(r.trial, "ok", figures={**r.figures, "step_seconds_median": 0.01 * r.trial.length})
        for r in records
    ]
    text = on_a_terminal(timed)
    first = [line for line in text.partition("\n\n")[0].splitlines() if ":x" in line]
    assert [sum(name in line for line in first) for name in ("a:x", "b:x")] == [MOST_ROWS // 2] * 2
    assert [text.partition("\n\n")[0].count(cell) for cell in ("rnn", "lstm")] == [1, 1]
    assert "scaling in T" in plain_table(timed)
    assert "scaling in T" not in text
    assert f"{MOST_ROWS} of 200 rows, none of the tables that would follow; choose" in " ".join(
        text.split()
    )


def test_what_is_piped_is_whole():
    assert plain_table(many(300)).count("numpy:native") == 300
    assert "shown:" not in plain_table(many(300))


def test_a_table_that_is_short_enough_is_not_cut():
    assert on_a_terminal(many(MOST_ROWS)).count("numpy:native") == MOST_ROWS
    assert "shown:" not in on_a_terminal(many(MOST_ROWS))


def test_of_many_lengths_a_terminal_shows_some_the_first_and_the_last():
    text = on_a_terminal(many(1, range(1, 101)))
    shown = [int(n) for n in re.findall(r"(\d+) │ +[\d.]+ \(", text)]
    assert (len(shown), shown[0], shown[-1]) == (MOST_LENGTHS, 1, 100)
    assert f"{MOST_LENGTHS} of 100 lengths" in text


def test_a_terminal_shows_some_of_many_notes():
    failed = [make("torch:library", status="failed", data_seed=seed) for seed in range(50)]
    text = on_a_terminal([Record(r.trial, r.status, f"reason {n}") for n, r in enumerate(failed)])
    assert text.count("n/a:") == MOST_NOTES
    assert f"and {50 - MOST_NOTES} more notes" in text
