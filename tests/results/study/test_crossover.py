"""Serial against parallel in time: ratios by length, and from which length parallel is faster."""

import re
from dataclasses import replace

import pytest

from builders import trial_of
from harness.contract import Record
from harness_results.render.markup import to_html, to_markdown
from harness_results.render.terminal import plain_table
from harness_results.study.study import Study
from harness_results.study.tables import crossover
from harness_results.study.tables.crossover import crossover_table
from launched import in_turns

LENGTHS = (64, 256, 1024)


def crossovers(records):
    return crossover.crossovers(Study(records))


def make(engine, length, seconds, status="ok", **trial):
    return Record(
        trial_of(engine, **({"cell": "mingru", "length": length} | trial)),
        status,
        figures={"step_seconds_median": seconds, "tokens_per_second": 1 / seconds},
    )


def series(engine, seconds, **trial):
    return [make(engine, length, s, **trial) for length, s in zip(LENGTHS, seconds, strict=True)]


ONCE = [
    *series("jax:scan", (1.0, 4.0, 16.0)),
    *series("jax:fused", (0.5, 5.0, 20.0)),
    *series("jax:parallel", (2.0, 2.0, 4.0)),
]
MEASURED = in_turns(ONCE)


def test_the_ratio_is_to_the_fastest_serial_variant_at_each_length():
    (found,) = crossovers(MEASURED)
    assert found.ratios == {64: 0.25, 256: 2.0, 1024: 4.0}
    assert found.labels == ("mingru", "jax:parallel")
    assert found.faster_from == 256


@pytest.mark.parametrize(
    ("seconds", "start"),
    [
        ((2.0, 2.0, 19.0), None),
        ((0.4, 9.0, 4.0), 1024),
        ((0.4, 2.0, 4.0), 64),
        ((0.5, 4.0, 16.0), None),
    ],
)
def test_faster_from_means_at_every_longer_length_too(seconds, start):
    (found,) = crossovers(in_turns([*ONCE[:6], *series("jax:parallel", seconds)]))
    assert found.faster_from == start


@pytest.mark.parametrize("records", [ONCE, in_turns(ONCE, 4), in_turns(ONCE, spread=0.9)])
def test_what_compare_could_not_tell_is_faster_from_no_length(records):
    (found,) = crossovers(records)
    assert (found.faster_from, found.in_words) == (None, "cannot tell")
    assert found.ratios == {64: 0.25, 256: 2.0, 1024: 4.0}


def test_speeds_of_an_earlier_version_are_not_compared_with_those_of_this_one():
    early = [
        replace(record, details={**record.details, "phase_seconds": {}}) for record in MEASURED
    ]
    assert crossovers(early)[0].faster_from == 256
    (found,) = crossovers([*early[:6], *MEASURED[6:]])
    assert found.in_words == "cannot tell"


def test_backends_networks_and_parallel_variants_are_kept_apart():
    records = [
        *MEASURED,
        *series("torch:loop", (1.0, 1.0, 1.0)),
        *series("jax:deer", (4.0, 4.0, 4.0)),
        *series("jax:scan", (3.0, 3.0, 3.0), hidden=7),
        *series("jax:parallel", (1.0, 1.0, 1.0), hidden=7),
    ]
    found = {one.labels: one.ratios[64] for one in crossovers(records)}
    assert found == {
        ("mingru", "128", "jax:parallel"): 0.25,
        ("mingru", "128", "jax:deer"): 0.125,
        ("mingru", "7", "jax:parallel"): 3.0,
    }


def test_lengths_that_only_one_of_them_has_or_that_failed_are_left_out():
    records = [
        make("jax:scan", 64, 1.0),
        make("jax:parallel", 64, 0.5),
        make("jax:parallel", 256, 0.5),
    ]
    records += [make("jax:scan", 256, 1.0, "timeout")]
    assert crossovers(records)[0].ratios == {64: 2.0}
    assert crossovers(records[:1]) == crossovers(records[1:2]) == crossovers([]) == []


def test_the_table_says_the_ratio_and_the_length():
    text = plain_table(MEASURED, 120)
    assert "copy: serial against parallel in time" in text
    assert re.search(r"mingru  jax:parallel │ 0\.250 +2\.00 +4\.00 +T=256\n", text)
    slow = plain_table(in_turns([*ONCE[:6], *series("jax:parallel", (9.0, 9.0, 20.0))]), 120)
    assert "never" in slow
    for rendered in (to_html(MEASURED), to_markdown(MEASURED)):
        assert "serial against parallel in time" in rendered
        assert "T=256" in rendered


def test_there_is_no_table_where_nothing_was_measured_both_ways():
    assert crossover_table(Study(MEASURED[:6])) is None
    assert "serial against parallel" not in plain_table(MEASURED[:6])
