"""What is declared of the columns of a record."""

import sys

from harness.contract.records.columns import COLUMNS, FIGURES, TABLE, names_of

FINITE, LARGEST = sys.float_info.max, 1e300


def test_names_are_unique():
    assert len(set(COLUMNS)) == len(TABLE)


def test_the_groups_of_figures():
    assert names_of("learning")[0] == "parameters"
    assert len(names_of("learning")) == 10
    assert len(names_of("speed")) == 9
    assert len(names_of("gradients")) == 7
    assert names_of("proof") == ("peak_memory_bytes", "parity_error", "parity_tolerance")


def test_losses_alone_may_be_negative():
    for column in FIGURES:
        least, largest = column.within
        if column.name.startswith("loss_"):
            assert (least, largest) == (-FINITE, FINITE)
        elif column.name.startswith("gradient_norm_"):
            assert (least, largest) == (0.0, FINITE)
        else:
            assert (least, largest) == (0.0, LARGEST)


def test_units_are_part_of_a_name():
    for column in FIGURES:
        name = column.name.removesuffix("_median")
        assert (column.unit == "s") == (name.endswith("_seconds"))
        assert (column.unit == "bytes") == (name.endswith("_bytes"))
        assert (column.unit in {"tokens/s", "FLOP/s"}) == ("_per_second" in name)


def test_what_launches_make_of_a_figure():
    rules = {column.name: column.over_launches for column in FIGURES}
    equal = {name for name, rule in rules.items() if rule == "equal"}
    assert equal == {*names_of("learning"), *names_of("gradients")}
    throughput = {"tokens_per_second", "tokens_per_second_low", "tokens_per_second_high"}
    assert {name for name, rule in rules.items() if rule == "interval"} == throughput
    medians = {name for name, rule in rules.items() if rule == "median"}
    assert medians == {*names_of("speed"), "peak_memory_bytes"} - throughput


def test_the_figures_that_are_better_higher():
    assert {column.name for column in FIGURES if column.better == "higher"} == {
        "accuracy", "solved", "tokens_per_second", "tokens_per_second_low",
        "tokens_per_second_high", "flops_per_second", "fraction_of_peak",
        "fraction_of_serial_limit", "gradient_horizon",
    }  # fmt: skip
