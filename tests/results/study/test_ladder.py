"""The ladder: which rungs a network climbs, as a table, a picture and a part of every report."""

import json
from dataclasses import replace

import pytest

from chart_records import make
from harness_results.render.flat import to_json
from harness_results.render.latex import to_latex
from harness_results.render.markup import to_markdown
from harness_results.render.shortening import shortened
from harness_results.study.seeds.ladder import rungs_of
from harness_results.study.seeds.summary import over_seeds
from harness_results.study.study import studies
from harness_results.study.tables.ladder import ladder_table
from harness_results.study.tables.sections import report

OUTCOMES = {  # accuracies at 40 and 80 of each seed; None: it failed
    ("parity", "lstm"): [(1.0, 1.0)] * 4 + [None],
    ("parity", "gru"): [(1.0, 1.0)] * 3 + [(1.0, 0.5)] * 2,
    ("word_problem", "lstm"): [(1.0, 1.0)] * 4,
}


def judged(task, cell, seed, accuracies, **options):
    trial = {"seed": seed, "evaluate_at": (40, 80), "task_options": options}
    record = make(cell=cell, task=task, trial=trial, solved=True, accuracy=1.0)
    if accuracies is None:
        return replace(record, status="diverged", reason="diverged at step 3", figures={})
    sets = [
        {"name": f"T={at}", "length": at, "accuracy": accuracy, "solved": accuracy > 0.99}
        for at, accuracy in zip((40, 80), accuracies, strict=True)
    ]
    return replace(record, details={**record.details, "evaluation_sets": sets})


def records():
    return [
        judged(task, cell, seed, accuracies)
        for (task, cell), seeds in OUTCOMES.items()
        for seed, accuracies in enumerate(seeds)
    ]


def test_a_rung_is_climbed_by_four_of_five_seeds_at_every_length():
    rungs = rungs_of(studies(over_seeds(records())))
    assert [(rung.name, rung.network, rung.solved, rung.seeds) for rung in rungs] == [
        ("parity", "lstm", 4, 5),
        ("parity", "gru", 3, 5),
        ("word_problem", "lstm", 4, 4),
    ]
    assert [rung.is_climbed for rung in rungs] == [True, False, False]  # four seeds are too few
    assert [rung.accuracy for rung in rungs] == [1.0, 1.0, 1.0]
    assert {rung.lengths for rung in rungs} == {(20, 40, 80)}


def test_options_that_differ_are_rungs_of_their_own_and_no_part_of_the_network():
    seeds = [
        judged("word_problem", "lstm", 0, (1.0, 1.0), group=group, layers=3)
        for group in ("Z5", "S3")
    ] + [judged("associative_recall", "lstm", 0, (1.0, 1.0), pairs=pairs) for pairs in (2, 4)]
    rungs = rungs_of(studies(seeds))
    assert [rung.name for rung in rungs] == [
        "word_problem Z5", "word_problem S3", "associative_recall pairs 2",
        "associative_recall pairs 4",
    ]  # fmt: skip
    assert {rung.network for rung in rungs} == {"lstm"}


def test_a_row_is_a_network_and_a_column_a_rung():
    grid = ladder_table(studies(over_seeds(records())))
    assert grid.columns == ("climbed", "parity", "word_problem")
    assert [(labels[0], [cell.strip() for cell in cells]) for labels, cells in grid.rows] == [
        ("lstm", ["1/2", "4/5 1.00 ✓", "4/4 1.00"]),
        ("gru", ["0/1", "3/5 1.00", ""]),
    ]
    assert "at T = 20, 40, 80" in grid.notes[0]


def test_one_rung_or_no_other_length_makes_no_ladder():
    one = [record for record in records() if record.trial.task == "parity"]
    others = [make(task=task) for task in ("adding", "copy")]
    assert ladder_table(studies(over_seeds(one))) is None
    assert ladder_table(studies(others)) is None


def test_it_is_the_last_table_of_every_report_even_if_long_ones_are_cut():
    many = [judged("copy", "rnn", seed, (0.0, 0.0), symbols=seed + 1) for seed in range(40)]
    content = report([*records(), *many])
    assert content.tables[-1].across
    assert shortened(content).tables[-1].title == content.tables[-1].title
    for text in (to_markdown(records()), to_latex(records())):
        assert "4/5 1.00" in text


def test_json_counts_the_seeds_that_solve_it_at_every_length():
    objects = json.loads(to_json(records()))
    assert [each["over_seeds"]["solved_at_every_length"] for each in objects] == [4, 3, 4]


def test_the_picture_and_the_page_show_what_the_table_says():
    pytest.importorskip("altair")
    from harness_results.charts import all_charts, chart_of
    from harness_results.charts.series import labelled
    from harness_results.page.content import tables
    from harness_results.page.figures import figures

    summaries = over_seeds(records())
    fields = list(all_charts()["ladder"].rows(labelled(summaries)))
    assert [(field["network"], field["rung"], field["words"]) for field in fields] == [
        ("lstm", "parity", "4/5 ✓"), ("gru", "parity", "3/5"), ("lstm", "word_problem", "4/4"),
    ]  # fmt: skip
    chart_of(records(), "ladder").to_dict(validate=True)
    assert "ladder" in {figure["name"] for figure in figures(summaries).drawn}
    assert tables(summaries)[0]["title"].startswith("ladder")


def test_the_picture_tells_engines_apart():
    pytest.importorskip("altair")
    from harness_results.charts import all_charts
    from harness_results.charts.series import labelled

    engines = [
        replace(record, trial=record.trial.model_copy(update={"variant": variant}))
        for record in records()
        for variant in ("loop", "native")
    ]
    fields = all_charts()["ladder"].rows(labelled(over_seeds(engines)))
    assert len({(field["network"], field["rung"]) for field in fields}) == len(fields) == 6
