"""Several seeds of a network as one record, in tables and in other forms."""

import json
import re
from dataclasses import replace

import pytest

from chart_records import make
from harness.contract.records.evaluated import at_lengths
from harness_results.render.flat import to_json
from harness_results.render.latex import to_latex
from harness_results.render.markup import to_markdown
from harness_results.render.terminal import plain_table
from harness_results.results import Results
from harness_results.study.networks import networks
from harness_results.study.seeds.summary import (
    SeedSummary,
    each_seed,
    over_seeds,
    seconds_to_solve,
    solved_of,
    steps_to_solve,
)
from harness_results.study.study import Study


def seeds(losses, **settings):
    """Return a record per seed; a loss of None diverged."""
    records = []
    for seed, loss in enumerate(losses):
        figures = {"loss_validation": loss, "loss_ratio": None if loss is None else 6 * loss}
        solved = loss is not None and loss < 0.01
        figures |= {"solved": solved, "steps_to_solve": 10.0 * (seed + 1) if solved else None}
        status = "diverged" if loss is None else "ok"
        record = make(trial={"seed": seed}, status=status, **figures, **settings)
        reason = "the loss is not finite at step 7" if loss is None else None
        records.append(replace(record, reason=reason))
    return records


def test_the_figures_are_medians_and_a_diverged_seed_is_the_worst():
    (summary,) = over_seeds(seeds([0.001, None, 0.16, 0.002, 0.17]))
    assert isinstance(summary, SeedSummary)
    assert summary.status == "ok"
    assert summary.figures["loss_validation"] == 0.16
    assert summary.loss_spread == (0.002, 0.17)
    assert summary.solved == (2, 5)
    assert not summary.figures["solved"]
    assert summary.trial.seed == 2  # of the median loss
    assert summary.launches == 4


def test_if_half_of_the_seeds_diverge_so_does_the_network():
    (summary,) = over_seeds(seeds([0.001, None, 0.002, None]))
    assert summary.status == "diverged"
    assert summary.figures["loss_validation"] is None
    assert summary.solved == (2, 4)
    assert "2 of 4 seeds diverged: the loss is not finite" in summary.reason


def test_times_to_solve_are_censored():
    (half,) = over_seeds(seeds([0.001, 0.002, 0.16, None]))
    assert steps_to_solve(half) == (20.0, 60)
    assert half.figures["steps_to_solve"] == 20.0
    of_step = half.figures["step_seconds_median"]
    assert seconds_to_solve(half) == pytest.approx((20 * of_step, 60 * of_step))
    (few,) = over_seeds(seeds([0.001, 0.16, None]))
    assert steps_to_solve(few) == (None, 60)
    assert seconds_to_solve(few)[0] is None
    assert solved_of(few) == (1, 3)


def test_a_seed_that_lost_patience_has_the_steps_that_it_trained():
    early, late = seeds([0.16, 0.17])
    early = replace(early, details={**early.details, "stopped_at": 9})
    (stopped,) = over_seeds([early, late])
    of_step = early.figures["step_seconds_median"]
    assert early.training_seconds() == pytest.approx(9 * of_step)
    assert steps_to_solve(stopped) == (None, 9)
    assert seconds_to_solve(stopped) == (None, pytest.approx((9 + 60) / 2 * of_step))
    first, solved = seeds([0.16, 0.001])
    first = replace(first, details={**first.details, "stopped_at": 9})
    (half,) = over_seeds([first, solved])
    assert steps_to_solve(half)[0] == 20.0
    assert seconds_to_solve(half)[0] == pytest.approx(20 * of_step)


def test_a_caption_says_the_steps_that_were_trained():
    early, late = seeds([0.16, 0.17])
    assert "steps 60 " in networks([early, late], {}).words
    early = replace(early, details={**early.details, "stopped_at": 9})
    assert "steps 9 to 60 of 60 " in networks([early, late], {}).words
    assert "steps 9 to 60 of 60 " in networks(over_seeds([early, late]), {}).words
    assert "steps 9 of 60 " in networks([early], {}).words


def test_only_the_seed_may_differ():
    records = [*seeds([0.1, 0.2]), *seeds([0.1, 0.2], cell="rnn"), *seeds([0.1, 0.2], length=40)]
    assert [len(record.members) for record in over_seeds(records)] == [2, 2, 2]
    assert each_seed(over_seeds(records)) == records
    assert over_seeds(over_seeds(records)) == over_seeds(records)
    apart = [replace(r, environment_id=f"e{n}") for n, r in enumerate(seeds([0.1, 0.2]))]
    assert over_seeds(apart) == apart


def test_a_seed_that_failed_before_its_machine_was_known_is_not_dropped():
    first, second, third = (replace(r, environment_id="e") for r in seeds([0.1, 0.2, None]))
    (summary,) = over_seeds([first, second, replace(third, environment_id=None)])
    assert [member.trial.seed for member in summary.members] == [0, 1, 2]


def test_an_interrupted_seed_is_no_outcome():
    records = seeds([0.001, 0.002, None])
    records[2] = replace(records[2], status="interrupted")
    (summary,) = over_seeds(records)
    assert summary.solved == (2, 2)
    assert "1 of 3 seeds: interrupted, not counted" in summary.details["notes"]


def test_a_table_has_a_row_per_network():
    records = [*seeds([0.001, None, 0.003]), *seeds([0.16, 0.17, 0.18], cell="rnn")]
    text = plain_table(records, 100)
    assert re.search(r"(?m)^lstm .* 0\.00300 \(0\.02x\) +0\.00100\.\.inf +2/3 \(9-99%\) ", text)
    assert re.search(r"(?m)^rnn .* 0\.170 \(1\.02x\) ≈ +0\.160\.\.0\.180 +0/3 \(0-71%\) ", text)
    assert "seeds 0 to 2" in text
    assert re.search(r"n/a: lstm numpy:loop T=20: 1 of 3 seeds diverged: the loss is not", text)
    assert re.search(r"not in 60 ", text)
    trial_id = over_seeds(records)[0].trial.trial_id
    assert f"{trial_id[:4]} +2" in text or f"{trial_id[:5]} +2" in text
    per_seed = repr(Results(records).table(per_seed=True))
    assert all(record.trial.trial_id[:4] in per_seed for record in records)
    assert "solved over seeds" not in per_seed


def test_one_seed_has_the_row_that_it_had():
    records = seeds([0.001])
    assert over_seeds(records) == records
    assert plain_table(records) == repr(Results(records).table(per_seed=True)) + "\n"


def test_networks_with_fewer_seeds_stay_in_one_row_per_network():
    records = [*seeds([0.1, 0.2, 0.3]), *seeds([0.1, 0.2], length=40)]
    study = Study(over_seeds(records))
    assert "seeds 2 to 3 of each" in study.networks.words
    [by_length] = study.rows.values()
    assert [len(record.members) for record in by_length.values()] == [3, 2]


def test_json_has_all_trials_of_a_network():
    records = seeds([0.001, None, 0.003])
    (content,) = json.loads(to_json(records))
    assert content["trial_id"] is None
    assert content["seed"] is None
    assert content["loss_validation"] == 0.003
    of_seeds = content["over_seeds"]
    assert of_seeds["trial_ids"] == [record.trial.trial_id for record in records]
    assert of_seeds["losses"] == [0.001, None, 0.003]
    assert (of_seeds["solved"], of_seeds["of"]) == (2, 3)
    assert of_seeds["loss_high"] is None  # infinite
    assert len(json.loads(to_json(records, per_seed=True))) == 3


def test_sets_of_further_data_have_medians_over_seeds():
    records = [
        replace(record, details={"evaluation_sets": [
            {"name": "T=40", "length": 40, "accuracy": seed / 4, "loss_ratio": 1.0, "solved": seed}
        ]})
        for seed, record in enumerate(seeds([0.1, 0.1, 0.1, None]))
    ]  # fmt: skip
    (summary,) = over_seeds(records)
    trained, other = at_lengths(summary)
    assert (trained.length, other.length) == (20, 40)
    assert (other.accuracy, other.loss_ratio, other.solved) == (0.125, 1.0, False)


def test_latex_has_no_flags_of_the_run():
    flagged = [
        replace(record, details={**record.details, "flags": ["blocks shorter than 100 ms"]})
        for record in seeds([0.001, 0.002])
    ]
    assert "blocks shorter" in to_markdown(flagged)
    assert "blocks shorter" not in to_latex(flagged)
