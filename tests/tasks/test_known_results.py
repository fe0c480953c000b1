"""What is known of cells on tasks, in runs of some seconds each."""

import pytest

import harness

LEARNT = [
    ("digits", "lstm", 8, {}, True),
    ("selective_copy", "lstm", 20, {"steps": 2000}, True),
    ("selective_copy", "rnn", 20, {"steps": 2000}, False),
    ("temporal_order", "lstm", 30, {}, True),
    ("forecast", "lstm", 50, {}, True),
]


@pytest.mark.full
@pytest.mark.parametrize(("task", "cell", "length", "options", "solved"), LEARNT)
def test_a_cell_solves_what_it_is_known_to_solve(task, cell, length, options, solved, tmp_path):
    results = harness.run(
        task=task,
        cell=cell,
        length=length,
        backend="numpy",
        store=tmp_path / "store.sqlite",
        progress=False,
        **options,
    )
    assert [record.status for record in results.records] == ["ok"]
    assert [record.figures["solved"] for record in results.records] == [solved]
