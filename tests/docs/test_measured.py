"""Committed tables come from the committed records, and pages quote their figures."""

import json
import re
import shlex
import textwrap
from dataclasses import replace
from importlib.util import find_spec
from itertools import groupby
from statistics import median

import pytest
from click.testing import CliRunner

import paths
from harness.cli.main import cli
from harness.contract import COLUMNS, Record
from harness_results.render.markup import markdown_of
from harness_results.render.terminal import plain_table, run_table
from harness_results.study.scaling import scaling
from harness_results.study.seeds.summary import over_seeds
from harness_results.study.study import Study, studies
from harness_results.study.tables.crossover import crossover_table
from harness_results.study.tables.ladder import ladder_table
from harness_results.study.tables.relative import relative
from harness_results.study.tables.sections import OF_A_RUN, relative_report
from harness_results.study.tables.summary import summary
from harness_results.text.format import number
from harness_results.text.lines import plain_text
from measured import MEASURED, record, records, rows

ROOT = paths.ROOT
README = (ROOT / "README.md").read_text(encoding="utf-8")
TABLE = (MEASURED / "README.md").read_text(encoding="utf-8")
FILES = sorted(path.name for path in MEASURED.glob("*.jsonl"))
WITHOUT_SETTINGS = ("tinyshakespeare.jsonl",)  # older, of a text that is not committed
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
READING = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")


def written(value: float, text: str) -> bool:
    """Say whether a figure, rounded to the digits of a text, is that text."""
    return f"{value:.{len(text.partition('.')[2])}f}" == text


@pytest.mark.parametrize("name", [name for name in FILES if name not in WITHOUT_SETTINGS])
def test_a_row_is_the_whole_trial(name):
    for row in rows(name):
        assert list(row) == list(COLUMNS)[: len(row)]  # later versions add columns at the end
        assert record(row).trial.trial_id == row["trial_id"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_stands_in_the_readme_with_the_command_that_makes_it(name):
    assert re.search(rf"\| `{re.escape(name)}`[^|]*\| `(harness|python) ", TABLE)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FILES if name not in WITHOUT_SETTINGS])
def test_the_command_of_a_file_is_that_of_its_trials(name, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for backend in {row["backend"] for row in rows(name)}:
        if find_spec(backend.partition("-")[0]) is None:
            pytest.skip(f"{backend} is not installed")
    row = re.search(rf"\| `{re.escape(name)}`[^|]*\| ([^|]*) \|", TABLE)[1]
    named = set()
    for command in re.findall(r"`harness (run[^`]*)`", row):
        words = [*shlex.split(command), "--dry-run", "--store", str(tmp_path / "none.sqlite")]
        result = CliRunner().invoke(cli, words, standalone_mode=False)
        assert result.exception is None
        named |= set(re.findall(r"^([0-9a-f]{12})\b", result.output, re.MULTILINE))
    assert named == {row["trial_id"] for row in rows(name)}


def test_the_table_of_the_work_items_is_made_again_from_their_records():
    found = markdown_of(relative_report(records("work-items.jsonl"), "torch:library"))
    # A row has the start of one launch, the store that the table was made of those of all: who took
    # turns is not in it.
    found = re.sub(r"- not interleaved with .*\n", "", found)
    assert found == (MEASURED / "work-items.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "variant", "rows"), [("parallel-in-time", "parallel", 8), ("newton", "deer", 6)]
)
def test_the_crossover_in_the_docs_is_made_again_from_its_records(name, variant, rows):
    grid = crossover_table(Study(records(f"{name}.jsonl")))
    assert grid is not None
    made = [f"| {' | '.join((*labels, *cells))} |" for labels, cells in grid.rows]
    told = (
        (ROOT / "docs" / "performance.md")
        .read_text(encoding="utf-8")
        .partition("## Parallel in time")[2]
    )
    assert len(made) == rows
    assert [line for line in told.splitlines() if f":{variant} |" in line] == made


def test_the_table_of_the_ladder_is_made_again_from_its_records():
    every = [*records("ladder.jsonl"), *records("ladder-cells.jsonl")]
    grid = ladder_table(studies(over_seeds(every)))
    made = [f"| {labels[0]} | {' | '.join(map(str.strip, cells))} |" for labels, cells in grid.rows]
    page = (ROOT / "docs" / "ladder.md").read_text(encoding="utf-8")
    cells = "|".join(labels[0] for labels, _ in grid.rows)
    assert re.findall(rf"^\| (?:{cells}) \| .*$", page, re.MULTILINE) == made
    assert f"| cell | {' | '.join(grid.columns)} |" in page


def test_three_memories_are_those_of_the_page():
    page = (ROOT / "docs" / "writing-a-probe.md").read_text(encoding="utf-8")
    kept, parity = {"lstm": [], "mingru": []}, {"lstm": [], "mingru": []}
    for row in rows("memories.jsonl"):
        probes = json.loads(row["probes"])
        kept[row["cell"]].append(probes["probe.memory.capacity"])
        parity[row["cell"]].append(probes["probe.latent.accuracy"])
        assert probes["probe.memory.reach_steps"] in {6, 7}
    low, high, low_lstm, high_lstm = re.search(
        r"capacity ([\d.]+) to ([\d.]+) against ([\d.]+) to ([\d.]+)", page
    ).groups()
    assert written(min(kept["mingru"]), low)
    assert written(max(kept["mingru"]), high)
    assert written(min(kept["lstm"]), low_lstm)
    assert written(max(kept["lstm"]), high_lstm)
    least, most = re.search(r"against ([\d.]+) to ([\d.]+) of the minGRU", page).groups()
    assert {f"{value:.2f}" for value in parity["lstm"]} == {"1.00"}
    assert written(min(parity["mingru"]), least)
    assert written(max(parity["mingru"]), most)


def test_no_other_table_is_committed():
    assert sorted(path.name for path in MEASURED.glob("*.md")) == ["README.md", "work-items.md"]


def quoted(page: str, start: str) -> str:
    """Return the block that begins so."""
    (block,) = (
        block
        for block in re.findall(r"```text\n(.*?)```", page, re.DOTALL)
        if block.startswith(start)
    )
    return block


def test_the_table_of_the_page_on_reading_is_made_again_from_its_records():
    text = plain_table(knowing(record, baseline_name="mean") for record in records("adding.jsonl"))
    assert text.startswith(quoted(READING, text.partition("\n")[0]))


def test_what_the_readme_quotes_of_the_first_command_is_made_again_from_its_records():
    trials = [
        knowing(record, ngram_losses={"trigram": record.figures["loss_baseline"]})
        for record in records("first-command.jsonl")
    ]
    lines = plain_text(run_table(trials, OF_A_RUN), 80).splitlines()
    shown = [line for line in lines if "│" in line]
    sentence = summary(Study(trials)).partition(". ")[0] + "."
    assert quoted(README, "cell").splitlines() == [*shown, "", *textwrap.wrap(sentence, 80)]


def knowing(record: Record, **facts: object) -> Record:
    """Return a record with facts of its task, which a row lacks."""
    return replace(record, details={**record.details, "task": facts})


LEARNING = re.compile(r"^\| (RNN|LSTM) \| (.+) \|$", re.MULTILINE)


def test_the_losses_and_horizons_that_the_readme_quotes_are_those_of_adding():
    by_cell = {"RNN": {}, "LSTM": {}}
    for row in rows("adding-default.jsonl"):
        horizon, censored = row["gradient_horizon"], row["gradient_horizon_censored"]
        by_cell[row["cell"].upper()][row["length"]] = (
            f"{row['loss_ratio']:.2f}, {'>' * bool(censored)}{horizon}"
        )
    assert {
        cell: dict(zip((50, 100, 200), cells.split(" | "), strict=True))
        for cell, cells in LEARNING.findall(README)
    } == by_cell


def test_two_more_seeds_agree_with_the_table_of_the_readme():
    (least,) = claim(r"`adding-seeds.jsonl`.*the RNN is nowhere below ([\d.]+) of its baseline")
    found = rows("adding-seeds.jsonl")
    assert {row["seed"] for row in found} == {1, 2}
    assert min(row["loss_ratio"] for row in found if row["cell"] == "rnn") >= float(least)
    for row in found:
        is_short_lstm = row["cell"] == "lstm" and row["length"] == 50
        assert row["solved"] == is_short_lstm == row["gradient_horizon_censored"]


NETWORK = re.compile(
    r"\| (\w+) (\d+)/(\d+), T = (\d+) \| 1 \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) "
    r"`([\w:-]+)` \|"
)
PEERS = ("flax", "haiku", "equinox", "keras-jax")


def multiples() -> dict[tuple[str, ...], dict[str, str]]:
    """Return (cell, hidden, batch, T) -> engine -> its multiple, from the committed table."""
    (grid,) = relative(records("work-items.jsonl"), "torch:library")
    at = {name: index for index, name in enumerate(grid.axes)}
    return {
        tuple(labels[at[name]] for name in ("cell", "hidden", "batch", "T")): dict(
            zip(grid.columns, cells, strict=True)
        )
        for labels, cells in grid.rows
        if labels[at["layers"]] == "1"
    }


def test_the_multiples_that_the_page_on_speed_quotes_are_those_of_the_work_items():
    table, networks = multiples(), NETWORK.findall(PERFORMANCE)
    assert len(networks) == 6
    for cell, hidden, batch, length, *engines, best, peer in networks:
        found = table[cell, hidden, batch, length]
        names = ("numpy:native", "torch:native", "jax:native")
        assert [f"{float(found[name]):.2f}" for name in names] == engines, (cell, hidden, length)
        peers = {engine: float(text) for engine, text in found.items()
                 if engine.startswith(PEERS) and re.fullmatch(r"[\d.]+", text)}  # fmt: skip
        assert (peer, best) == (max(peers, key=peers.__getitem__), f"{max(peers.values()):.2f}")


ENGINES = re.compile(
    r"^\| lstm (\d+)/(\d+), T = (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE
)


def test_the_multiples_that_the_readme_quotes_are_those_of_the_work_items():
    table, networks = multiples(), ENGINES.findall(README)
    assert len(networks) == 2
    for hidden, batch, length, *engines in networks:
        found = table["lstm", hidden, batch, length]
        names = ("torch:native", "jax:native", "numpy:native")
        assert [f"{float(found[name]):.2f}" for name in names] == engines


def largest_spread(name: str, figure: str, engines: int) -> float:
    """Return the largest relative distance between so many engines on one task and network."""

    def key(row):
        return row["task"], row["cell"], row["hidden"], row["length"]

    groups = [
        [row[figure] for row in group] for _, group in groupby(sorted(rows(name), key=key), key)
    ]
    assert {len(group) for group in groups} == {engines}
    return max((max(group) - min(group)) / min(group) for group in groups)


def claim(pattern: str) -> tuple[str, ...]:
    found = re.search(pattern, TABLE)
    assert found, pattern
    return found.groups()


def test_what_is_said_of_the_agreement_is_so():
    initial, final = claim(
        r"agree on `loss_initial` to ([\d.e-]+) relative and on `loss_final` to ([\d.e-]+)"
    )
    spreads = (
        largest_spread("agreement.jsonl", name, 6) for name in ("loss_initial", "loss_final")
    )
    assert [f"{value:.1e}" for value in spreads] == [
        f"{float(text):.1e}" for text in (initial, final)
    ]
    assert {row["status"] for row in rows("agreement.jsonl")} == {"ok"}


def test_what_is_said_of_newtons_method_is_so():
    (final,) = claim(r"the four variants agree on `loss_final` to ([\d.e-]+) relative")
    assert f"{largest_spread('newton.jsonl', 'loss_final', 4):.1e}" == f"{float(final):.1e}"


def test_what_is_said_of_tinyshakespeare_is_so():
    loss, trigram = claim(
        r"validation loss ([\d.]+) nats per character on each backend, "
        r"below the trigram model's ([\d.]+)"
    )
    for row in rows("tinyshakespeare.jsonl"):
        assert written(row["loss_validation"], loss)
        assert written(row["loss_baseline"], trigram)


def test_what_is_said_of_long_range_addition_is_so():
    low, high, ratio = claim(
        r"gradient horizon of (\d+) to (\d+) steps; .* "
        r"and it is at ([\d.]+) of the baseline at T = 200"
    )
    by_cell = {(row["cell"], row["length"]): row for row in rows("adding.jsonl")}
    horizons = [by_cell["rnn", length]["gradient_horizon"] for length in (50, 100, 200)]
    assert [min(horizons), max(horizons)] == [int(low), int(high)]
    assert written(by_cell["lstm", 200]["loss_ratio"], ratio)
    assert [by_cell["lstm", length]["solved"] for length in (50, 100, 200)] == [True, True, False]


KNOWN = [  # file, column, what is said of rows with these values
    ("digits", "accuracy", r"at T = 8 \(rnn ([\d.]+), lstm ([\d.]+)\)", [
        {"length": 8, "cell": cell} for cell in ("rnn", "lstm")]),
    ("digits", "accuracy", r"blank steps \(T = 40: rnn ([\d.]+), lstm ([\d.]+)\)", [
        {"length": 40, "cell": cell} for cell in ("rnn", "lstm")]),
    ("digits", "accuracy", r"in order rnn ([\d.]+), lstm ([\d.]+), permuted ([\d.]+), ([\d.]+)", [
        {"length": 64, "permuted": permuted, "cell": cell}
        for permuted in (False, True) for cell in ("rnn", "lstm")]),
    ("temporal-order", "solved", r"GRU solves it in (\d) of 3 .*? LSTM in (\d), .*? in (\d) \|", [
        {"cell": cell} for cell in ("gru", "lstm", "rnn")]),
    ("forecast", "loss_validation", r"Mackey-Glass, rnn ([\d.]+) and lstm ([\d.]+)", [
        {"series": "mackey_glass", "cell": cell} for cell in ("rnn", "lstm")]),
    ("forecast", "loss_validation", r"NARMA-10, ([\d.]+) and ([\d.]+)", [
        {"series": "narma10", "cell": cell} for cell in ("rnn", "lstm")]),
    ("words", "loss_ratio", r"the RNN at ([\d.]+) of it and the LSTM at ([\d.]+)", [
        {"cell": cell} for cell in ("rnn", "lstm")]),
    ("recall", "accuracy", r"units: ([\d.]+), ([\d.]+), ([\d.]+), ([\d.]+)", [
        {"hidden": hidden} for hidden in (4, 8, 16, 32)]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "column", "pattern", "wanted"), KNOWN)
def test_what_is_said_of_known_results_is_so(name, column, pattern, wanted):
    """Each figure is a median over seeds; of ``solved``, how many seeds."""
    texts = [text.rstrip(".") for text in claim(rf"`{name}\.jsonl`.*?{pattern}")]
    for text, values in zip(texts, wanted, strict=True):
        chosen = [row[column] for row in rows(f"{name}.jsonl") if has(row, values)]
        assert len(chosen) in (3, 5)
        assert written(sum(chosen) if column == "solved" else median(chosen), text), (text, values)


def has(row: dict, values: dict) -> bool:
    whole = row | json.loads(row["settings"])["task_options"]
    return all(whole[name] == value for name, value in values.items())


def test_what_is_said_of_over_fitting_is_so():
    ends, falls, ratio = claim(
        r"ends at ([\d.]+) nats while training falls to ([\d.]+).*"
        r"validation ends at ([\d.]+) of the baseline"
    )
    by_task = {row["task"]: row for row in rows("over-fitting.jsonl")}
    assert written(by_task["char"]["loss_validation"], ends)
    assert written(by_task["char"]["loss_final"], falls)
    assert written(by_task["adding"]["loss_ratio"], ratio)


def test_what_is_said_of_long_sequences_is_so():
    most, *told = claim(
        r"at most (\d+) MB of memory.*`numpy:vectorised` ([\d.]+) and ([\d.]+), "
        r"`torch:native` ([\d.]+) and ([\d.]+), "
        r"`jax:native` ([\d.]+) and ([\d.]+)"
    )
    found = {(one.records[0].trial.engine, one.records[0].trial.batch): one.exponent.value
             for one in scaling(records("long-sequences.jsonl"))}  # fmt: skip
    engines = [
        (name, batch)
        for name in ("numpy:vectorised", "torch:native", "jax:native")
        for batch in (1, 8)
    ]
    assert [f"{found[engine]:.2f}" for engine in engines] == told
    peak = max(row["peak_memory_bytes"] for row in rows("long-sequences.jsonl"))
    assert number(peak / 1e6) == most
