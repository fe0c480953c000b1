"""The tables of probes: figures that nobody here knows, over seeds, and odd stored values."""

from builders import trial_of
from harness.contract import Record
from harness_results.study.seeds.summary import over_seeds
from harness_results.study.study import studies
from harness_results.study.tables.probes import probe_tables


def record(seed, results, cell="lstm"):
    return Record(trial_of(seed=seed, cell=cell), "ok", details={"probes": results})


def result(**figures):
    return {"version": 1, "says": {"length_steps": "how long"}, "figures": figures}


def tables_of(records):
    (study,) = studies(over_seeds(records))
    return list(probe_tables(study))


def test_a_probe_has_a_table_of_its_figures_with_what_they_say():
    (table,) = tables_of(
        [
            record(0, {"mine": result(length_steps=3, empty=None)}),
            record(0, {"mine": result(length_steps=None, empty=None)}, cell="gru"),
        ]
    )
    assert table.title == "copy: probe mine"
    assert table.columns == ("length_steps",)
    assert [cells for _, cells in table.rows] == [("3",), ("-",)]
    assert table.notes == ("length_steps: how long",)


def test_seeds_have_the_median():
    seeds = [
        record(seed, {"mine": result(length_steps=value)}) for seed, value in enumerate((1, 9, 4))
    ]
    (table,) = tables_of(seeds)
    assert [cells for _, cells in table.rows] == [("4",)]
    assert "medians over seeds" in table.notes


def test_no_median_where_a_seed_has_no_value():
    """A horizon that does not exist lies beyond all others."""
    values = {"lstm": (1, None, 4), "gru": (1, 9, 4)}
    seeds = [
        record(seed, {"mine": result(length_steps=value)}, cell)
        for cell, of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]
    (table,) = tables_of(seeds)
    assert [cells for _, cells in table.rows] == [("-",), ("4",)]


def test_odd_values_and_failures_make_no_table():
    odd = {"failed": {"version": 1, "failed": "no idea"}, "text": "?", "list": {"figures": [1]}}
    assert tables_of([record(0, odd)]) == []
    (table,) = tables_of([record(0, {"mine": result(length_steps="long", ratio=0.5)})])
    assert table.columns == ("ratio",)
