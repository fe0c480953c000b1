"""What ``harness run`` prints at its end: short, true for the records, with ids to go on."""

import re

import pytest
from click.testing import CliRunner
from rich.console import Console

from builders import trial_of
from harness.cli.main import cli
from harness.cli.options.tables import ASKED
from harness.cli.output import run as output
from harness.contract import Record
from harness_results.study.samples import moments
from harness_results.study.study import Study
from harness_results.study.tables.brief import brief_notes
from harness_results.study.tables.notes import remarks
from harness_results.study.tables.pivot import pivot
from harness_results.study.tables.sections import FURTHER, OF_A_RUN
from harness_results.study.tables.summary import summary

LADDER = {"task": {"ngram_losses": {"uniform": 4.2, "bigram": 2.5, "trigram": 2.0}}}
SAMPLES = [{"step": step, "text": f"text\n of  step {step} " * 30} for step in (1, 90, 260, 900)]
TEXT = LADDER | {"samples": [{"temperature": 0.5, "text": "end"}], "samples_over_training": SAMPLES}


def make(cell="lstm", length=50, ratio=0.8, horizon=18, details=TEXT, **trial):
    asked = {"task": "char", "cell": cell, "length": length, "steps": 900} | trial
    solved = ratio < 1
    figures = {
        "loss_validation": 2.0 * ratio, "loss_baseline": 2.0, "loss_ratio": ratio, "solved": solved,
        "tokens_per_second": 28.8e3, "tokens_per_second_low": 25e3, "tokens_per_second_high": 30e3,
        "gradient_norm_median": 0.257, "gradient_horizon": horizon, "gradient_decay": 0.9,
        "parity_error": 1e-7, "step_seconds_median": 0.001 * length,
    }  # fmt: skip
    return Record(trial_of("numpy:native", **asked), "ok", figures=figures, details=details)


def first_run():
    lengths = (25, 50, 100)
    lstm = [make(length=n, ratio=0.79 - n / 1000) for n in lengths]
    return [*(make("rnn", n, 0.95 - n / 1000, 15) for n in lengths), *lstm]


@pytest.fixture
def printed(monkeypatch, capsys):
    def printed(records, tables=(), store="harness.sqlite", width=80):
        monkeypatch.setattr(output, "stdout_console", lambda: Console(width=width))
        output.print_run(records, store, tables)
        return capsys.readouterr().out

    return printed


def test_a_run_prints_24_lines_of_80_columns_and_three_texts_of_each_cell(printed):
    records = first_run()
    text = printed(records)
    samples, _, rest = text.partition("\nchar   ")
    assert len(rest.splitlines()) + 1 <= 24
    assert max(map(len, text.splitlines())) <= 80
    assert re.findall(r"\n  (step [\d,]+)", samples) == ["step 1", "step 90", "step 900"] * 2
    assert len(samples.splitlines()) == 2 * (1 + 3 * 3 + 1) - 1
    assert all(record.trial.trial_id[:4] in rest for record in records)
    assert "scaling in T" not in text


def test_evaluations_at_the_usual_steps_are_not_named_in_the_caption():
    steps = {25: (3000, 300), 50: (1500, 150)}
    records = [make(length=n, steps=s, evaluate_every=every) for n, (s, every) in steps.items()]
    assert Study(records).networks.words.endswith("steps by length")
    records[0] = make(length=25, steps=3000, evaluate_every=299)
    assert "evaluate every by length" in Study(records).networks.words


def test_over_fitted_trials_share_a_line(printed):
    gap = {"overfitting_gap": 0.4, "overfitting_gap_error": 0.01, "steps_per_epoch": 90.0}
    details = TEXT | gap | {"best_step": 300}
    text = printed([make(length=n, details=details) for n in (25, 50)])
    assert "over-fitting: lstm T=25 and lstm T=50: validation was best before the end\n" in text


def test_every_further_table_is_printed_or_can_be_asked_for():
    assert {*ASKED, *OF_A_RUN} == set(FURTHER)


def test_further_tables_come_when_they_are_asked_for(printed):
    records = first_run()
    assert "scaling in T" in printed(records, ["all"])
    assert "scaling in T" in printed(records, ["scaling"])
    assert "scaling in T" not in printed(records, ["limits"])
    result = CliRunner().invoke(cli, ["run", "--tables", "sizes"], standalone_mode=False)
    problem = "'sizes': no such table; write lengths, probes, scaling, limits or all"
    assert problem in str(result.exception)


def test_the_next_commands_name_the_best_trial_and_the_store(printed):
    records = first_run()
    best = records[-1].trial.trial_id[:4]
    assert f"next: harness show {best}  " in printed(records)
    other = printed(records, store="my store.sqlite")
    assert f"harness show {best} --store 'my store.sqlite'" in other
    assert "harness report 'my store.sqlite' -f html" in other


def test_the_next_commands_name_the_longest_sequences_that_are_learnt(printed):
    ratios = {("rnn", 10): 1e-4, ("lstm", 10): 3e-4, ("lstm", 30): 0.8, ("rnn", 30): 1.01}
    ratios |= {("lstm", 100): 0.98, ("rnn", 100): 1.2}
    records = [make(*of, ratio, details={}, task="copy") for of, ratio in ratios.items()]
    assert f"next: harness show {records[2].trial.trial_id[:4]}" in printed(records)
    assert f"next: harness show {records[4].trial.trial_id[:4]}" in printed(records[3:])


def test_the_next_commands_say_why_a_trial_failed_and_compare_engines(printed):
    failed = Record(make().trial, "timeout", "after 3 s")
    assert re.search(r"next: harness show \S+ +why it failed\n", printed([failed]))
    assert "harness compare" not in printed([make(), failed])
    other = Record(trial_of("torch:native", task="char", cell="lstm", length=50), "ok")
    text = printed([make(), other])
    assert re.search(r"\n +harness compare numpy:native torch:native +which", text)


def test_the_next_commands_say_what_the_page_needs_if_it_is_missing(printed, monkeypatch):
    monkeypatch.setattr(output, "find_spec", lambda name: None if name == "altair" else name)
    text = printed(first_run())
    assert text.endswith("  a page; needs the extra report\n")
    assert max(map(len, text.splitlines())) <= 80
    monkeypatch.setattr(output, "find_spec", lambda name: name)
    assert "everything, on a page\n" in printed(first_run())


def test_the_sentences_say_how_far_each_cell_is_from_the_model_and_the_gradient_reaches():
    words = summary(Study(first_run()))
    assert words == (
        "Loss against the trigram model, which sees the last two characters: lstm 24 to 31 % "
        "below, rnn 8 to 15 % below. At T = 100 the gradient reaches back 18 steps in lstm and 15 "
        "steps in rnn. One seed: another may give other numbers."
    )
    mixed = [make("rnn", 25, 1.04), make("rnn", 50, 0.97), make("lstm", 50, 1.002), make("gru")]
    assert "gru 20 % below, rnn 3 % below to 4 % above, lstm equal to it." in summary(Study(mixed))
    seeds = [make(seed=seed) for seed in (0, 1)]
    assert "One seed" not in summary(Study(seeds))
    assert summary(Study([Record(make().trial, "failed", "no memory")])) == ""


def test_of_other_tasks_they_say_where_each_cell_solves_it():
    def copied(cell, length, ratio, seed=0):
        return make(cell, length, ratio, details={}, task="copy", seed=seed)

    records = [copied("lstm", 10, 0.01), copied("lstm", 100, 1.001), copied("rnn", 10, 1.02)]
    records += [copied("gru", 10, 1.03), copied("lstm", 20, 0.1), copied("lstm", 20, 1.2, seed=1)]
    assert summary(Study(records)).startswith(
        "lstm: solved at T = 10, solved in 1 of 2 trials at T = 20, nothing learnt at T = 100; "
        "rnn and gru: nothing learnt."
    )
    partly = [*records[:2], copied("lstm", 30, 0.3)]
    partly[-1].figures["solved"] = False
    words = "lstm: solved at T = 10, not at T = 30, nothing learnt at T = 100. "
    assert summary(Study(partly)).startswith(words)
    mixed = [copied("rnn", 10, 1.02), copied("rnn", 10, 0.5, seed=1)]
    assert summary(Study(mixed)).startswith("rnn: solved in 1 of 2 trials at T = 10. ")


def test_a_loss_above_the_baseline_is_not_called_learning():
    details = {"task": {"baseline_name": "mean"}}
    ratios = {50: 1.07, 100: 2.19, 200: 0.99}
    records = [make("rnn", n, ratio, details=details, task="adding") for n, ratio in ratios.items()]
    for record in records:
        record.figures["solved"] = False
    words = "rnn: not solved, nothing learnt at T = 200, loss above mean at T = 50 and 100. "
    assert summary(Study(records)).startswith(words)


def test_a_length_at_which_a_trial_failed_is_not_claimed():
    records = [make("rnn", n, 0.01, details={}, task="copy") for n in (10, 20)]
    records.append(Record(make("rnn", 30, task="copy").trial, "diverged", "diverged at step 9"))
    words = summary(Study(records))
    assert words.startswith("rnn: solved at T = 10 and 20. ")
    assert "1 trial that did not end well is left out." in words


def test_two_texts_have_no_common_model():
    other = {"task": {"ngram_losses": {"unigram": 3.0, "bigram": 2.0}}}
    study = Study([make(ratio=1.2), make(ratio=0.9, details=other, task_options={"limit": 9000})])
    assert summary(study).startswith(
        "Loss against the best n-gram model of its text: lstm 10 % below to 20 % above. "
    )
    assert "gradient reaches back 18 steps in lstm (medians)." in summary(study)
    assert "(x baseline)" in brief_notes(study, pivot(study))[0]
    assert "✓ below trigram" in brief_notes(Study([make()]), pivot(Study([make()])))[0]


def test_losses_close_to_the_model_on_both_sides_are_equal_to_it():
    study = Study([make(length=25, ratio=0.999), make(length=50, ratio=1.002)])
    assert "lstm equal to it." in summary(study)


def test_a_loss_many_times_that_of_the_model_is_no_percentage():
    study = Study([make("rnn", 25, 0.97), make("rnn", 50, 4e6), make("lstm", 25, 1e-6)])
    assert "lstm more than 99 % below, rnn 3 % below to 4e+06 times it." in summary(study)
    study = Study([make(length=25, ratio=2.9), make(length=50, ratio=12.34)])
    assert "lstm 190 % above to 12 times it." in summary(study)


def test_flags_of_a_kind_share_a_line_and_numbers_that_vary_are_a_range():
    drift = "step times drifted by {} % from the first half of the blocks to the second"
    flags = {25: [drift.format("-16")], 50: [drift.format("+20"), "it has 2 of float32"], 100: []}
    records = [make(length=n, details={"flags": texts}) for n, texts in flags.items()]
    assert list(remarks(Study(records), ["flag"])) == [
        f"flag: lstm numpy:native T=25,50: {drift.format('-16 to +20')}",
        "flag: lstm numpy:native T=50: it has 2 of float32",
    ]


def test_moments_are_the_start_a_tenth_and_the_end():
    assert [step for step, _ in moments(make())] == [1, 90, 900]
    rare = [SAMPLES[0], *SAMPLES[2:]]
    assert [step for step, _ in moments(make(details={"samples_over_training": rare}))] == [
        1,
        260,
        900,
    ]
    assert moments(make(details={"samples": TEXT["samples"]})) == [(900, "end")]
    assert moments(make(details={})) == []
