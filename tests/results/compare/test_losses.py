"""Losses of two networks in pairs of equal seeds."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from chart_records import make
from harness.cli.main import cli
from harness.contract import UsageError
from harness_results.compare.gate import read_rule
from harness_results.compare.losses import compare_losses, network_key
from harness_results.compare.losses_text import loss_table
from harness_results.store.store import Store

RNG = np.random.default_rng(5)


def network(cell, losses, **settings):
    """Return a record per seed; a loss of None diverged."""
    return [
        make(
            cell=cell,
            trial={"seed": seed, **settings},
            loss_validation=loss,
            status="ok" if loss is not None else "diverged",
            loss_baseline=0.16 + seed / 1000,
        )
        for seed, loss in enumerate(losses)
    ]


def pairs(count, better=0.1):
    base = (0.2 + RNG.normal(0, 0.01, count)).tolist()
    return network("rnn", base), network("lstm", [loss - better for loss in base])


def compared(base, new, **options):
    return compare_losses(base, new, axis="cell", **options).rows


def test_ten_seeds_decide_and_both_ways_agree():
    rnn, lstm = pairs(10)
    [row] = compared(rnn, lstm)
    assert (row.verdict, row.p_value) == ("better", 2 / 2**10)
    assert row.interval == pytest.approx((-0.1, -0.1))
    [reverse] = compared(lstm, rnn)
    assert (reverse.verdict, reverse.regressions) == ("worse", ("worse",))
    assert reverse.difference == -row.difference


@pytest.mark.parametrize("count", range(1, 6))
def test_five_seeds_decide_nothing_and_the_number_that_would_is_named(count):
    [row] = compared(*pairs(count))
    assert row.verdict == "cannot_tell"
    assert row.interval is None
    assert row.reason.endswith("needs 6 or more (--seeds 6)")


def test_many_comparisons_need_more_seeds():
    sides = [], []
    for hidden in (8, 16):
        for side, records in zip(sides, pairs(6), strict=True):
            side += [
                replace(r, trial=r.trial.model_copy(update={"hidden": hidden})) for r in records
            ]
    rows = compared(*sides)
    assert [row.verdict for row in rows] == ["cannot_tell"] * 2
    assert [row.p_adjusted for row in rows] == [4 / 2**6] * 2
    assert "among 2 comparisons needs 7 or more" in rows[0].reason


def test_a_diverged_seed_is_the_worst_and_never_dropped():
    rnn, lstm = pairs(7)
    lstm[3] = network("lstm", [0.1] * 3 + [None])[3]
    [row] = compared(rnn, lstm)
    assert len(row.seeds) == 7
    assert row.p_value > 2 / 2**7
    both = network("rnn", [None] * 8), network("lstm", [None] * 8)
    [row] = compared(*both)
    assert (row.verdict, row.difference, row.p_value) == ("cannot_tell", 0, 1)


def test_only_seeds_that_read_the_same_data_are_pairs():
    rnn, lstm = pairs(8)
    lstm[2] = replace(lstm[2], figures={**lstm[2].figures, "loss_baseline": 0.3})
    [row] = compared(rnn[:7], lstm)
    assert row.seeds == (0, 1, 3, 4, 5, 6)
    assert row.unpaired == ("only new has seed 7", "other validation data for seed 2")
    for axis in ("steps", "batch", "length", "task", "seed", "data_seed"):
        with pytest.raises(UsageError, match="is other data"):
            network_key(axis)


def test_a_gate_option_does_not_keep_cells_apart():
    rnn, _ = pairs(6)
    lstm = network("lstm", [0.01] * 6, forget_bias=1.0)
    assert [row.verdict for row in compared(rnn, lstm)] == ["better"]


def test_rules_and_allowed_verdicts():
    rnn, lstm = pairs(8, better=0.1)
    strict, lenient = read_rule("loss_validation:5%"), read_rule("loss_validation:0.2")
    assert compared(lstm, rnn, rules=[strict])[0].regressions == ("loss_validation:5%",)
    assert compared(lstm, rnn, rules=[lenient])[0].regressions == ()
    assert compared(lstm, rnn, allowed=["worse"])[0].regressions == ()
    assert compared(*pairs(5), fail_on_doubt=True)[0].regressions == ("cannot_tell",)
    assert compare_losses(rnn, lstm, axis=None).rows[0].regressions == ("missing",)


def test_the_table_fits_eighty_columns():
    rnn, lstm = pairs(8)
    lstm[0] = network("lstm", [None])[0]
    text = loss_table(compare_losses(rnn, lstm, axis="cell"), "cell").plain(80)
    assert max(map(len, text.splitlines())) <= 80
    assert "adding T=20 numpy:loop" in text


def run(*arguments):
    return CliRunner().invoke(cli, ["compare", "--losses", *arguments], standalone_mode=False)


def test_the_command_takes_cells_runs_and_stores(tmp_path):
    rnn, lstm = pairs(8)
    path = str(tmp_path / "store.db")
    with Store.open(path) as store:
        for records in ([*rnn, *lstm], rnn):
            run_id = store.begin_run("x")
            for record in records:
                store.add(record, run_id)
    where = ("--store", path)
    result = run("rnn", "lstm", "--run", "1", "-f", "json", *where)
    row, suite = json.loads(result.stdout)
    assert (row["verdict"], row["seeds"], result.return_value) == ("better", list(range(8)), 0)
    assert suite["suite"]["verdicts"] == {"better": 1}
    assert run("lstm", "rnn", "--run", "1", *where).return_value == 4
    assert "the losses are equal" in run("2", "2", *where).stdout
    assert "1 missing" in run("1", "2", *where).stdout
    for wrong, fix in (("--drift 3%", "--drift"), ("--fail-on throughput:5%", "loss_validation")):
        assert fix in str(run("rnn", "lstm", "--run", "1", *wrong.split(), *where).exception)
