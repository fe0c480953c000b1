"""The best value of a setting: chosen on validation, judged on the test split."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from chart_records import make
from harness.cli.main import cli
from harness.contract import UsageError
from harness_results.store.store import Store
from harness_results.study.tables.best_of import BIASED, best_of


def tried(cell="lstm", *, test=True, status="ok", **rates):
    """Return three seeds at each rate; their validation losses are close to its value."""
    records = []
    for rate, loss in rates.items():
        for seed in range(3):
            record = make(
                cell=cell,
                trial={"seed": seed, "learning_rate": float(rate.strip("_").replace("_", "."))},
                loss_validation=loss + seed / 1000,
                status=status if loss == 0.5 else "ok",
            )
            sets = [{
                "name": "test", "length": 20, "loss_validation": 2 * loss + seed / 1000,
                "loss_ratio": 1.0, "solved": seed > 0,
            }]  # fmt: skip
            details = record.details | ({"evaluation_sets": sets} if test else {})
            records.append(replace(record, details=details))
    return records


def test_each_network_has_its_own_best_value_and_its_loss_on_the_test_split():
    records = [*tried(_0_1=0.3, _0_2=0.2), *tried("rnn", _0_1=0.1, _0_2=0.4)]
    [grid] = best_of(records, "learning-rate")
    rows = {labels[0]: cells for labels, cells in grid.rows}
    assert rows["lstm"] == ("0.2", "2", "0.201 (0.006x)", "0.401 (1.00x)", "2/3 (9-99%)")
    assert rows["rnn"][:4] == ("0.1", "2", "0.101 (1.02x)", "0.201 (1.00x)")
    assert "tried: lstm numpy:loop T=20: 0.2 0.201, 0.1 0.301" in grid.notes
    assert BIASED not in grid.notes


def test_a_value_at_which_the_seeds_diverge_is_never_the_best():
    [grid] = best_of(tried(_0_1=0.6, _0_2=0.5, status="diverged"), "learning_rate")
    [(_, cells)] = grid.rows
    assert cells[0] == "0.1"
    assert any("0.1 0.601, 0.2 diverged" in note for note in grid.notes)


def test_without_a_test_split_the_table_says_what_is_wrong_with_validation():
    [grid] = best_of(tried(_0_1=0.3, _0_2=0.2, test=False), "learning_rate")
    assert grid.rows[0][1][3:] == ("-", "-")
    assert BIASED in grid.notes
    [grid] = best_of(
        tried(_0_1=0.5, status="diverged") + tried(_0_2=0.5, status="diverged"), "learning_rate"
    )
    assert BIASED not in grid.notes  # it has one, which no network reached


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed", "a repetition"),
        ("length", "another task"),
        ("hidden", "it has one value here, 8"),
        ("learning", "Did you mean learning_rate"),
    ],
)
def test_what_cannot_be_chosen_is_refused(setting, message):
    with pytest.raises(UsageError, match=message):
        best_of(tried(_0_1=0.3, _0_2=0.2), setting)


def test_the_command_prints_it_as_text_only(tmp_path):
    path = str(tmp_path / "store.db")
    with Store.open(path) as store:
        run_id = store.begin_run("x")
        for record in tried(_0_1=0.3, _0_2=0.2):
            store.add(record, run_id)

    def report(*arguments):
        words = ["report", path, "--best-of", "learning_rate", *arguments]
        return CliRunner().invoke(cli, words, standalone_mode=False)

    assert "adding: the best learning_rate of each network" in report().stdout
    assert "| lstm |" in report("-f", "markdown").stdout
    assert "--best-of is a table" in str(report("-f", "json").exception)
    assert "leave one of them out" in str(report("--relative", "numpy:loop").exception)
