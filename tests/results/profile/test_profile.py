"""The profile of a cell: every section and every sentence says what the records hold."""

import json
import math
from dataclasses import replace

import pytest

from chart_records import make
from harness_results.profile.report import WIDTH, table_of, to_json
from harness_results.profile.sentences import sentences
from harness_results.profile.view import Profile
from harness_results.render.latex import latex_of
from harness_results.render.terminal import ReportTables
from harness_results.study.tables.sections import Report
from harness_results.text.lines import plain_text

SEEDS = range(3)
SOLVES = {("parity", "gru"): 3, ("parity", "mingru"): 0, ("dyck", "gru"): 3, ("dyck", "mingru"): 2}


def network(task, cell, seed, *, probes=None, **settings):
    trial = {"seed": seed} | settings.pop("trial", {})
    record = make("numpy:native", cell, task=task, trial=trial, **settings)
    return replace(record, details={**record.details, "probes": probes or {}})


def rung(task, cell, seed, *, solved):
    trial = {"evaluate_at": (40, 80)}
    record = network(task, cell, seed, trial=trial, solved=True, accuracy=1.0)
    sets = [
        {"name": f"T={at}", "length": at, "accuracy": 0.5 + 0.5 * solved, "solved": solved}
        for at in (40, 80)
    ]
    return replace(record, details={**record.details, "evaluation_sets": sets})


def probed(**by_probe):
    return {name: {"version": 1, "figures": figures} for name, figures in by_probe.items()}


def with_probes(record, **by_probe):
    return replace(record, details={**record.details, "probes": probed(**by_probe)})


def ladder(seeds=SEEDS):
    return [
        rung(task, cell, seed, solved=seed < solvers)
        for (task, cell), solvers in SOLVES.items()
        for seed in seeds
    ]


def adding(cell, steps, exponent=-0.5):
    """Return seeds of a network; ``steps``: when each first solved the task, None: never."""
    return [
        network(
            "adding", cell, seed, steps=2000, solved=when is not None, steps_to_solve=when,
            probes=probed(lyapunov={"exponent_per_step": exponent, "horizon_steps": None}),
        )
        for seed, when in enumerate(steps)
    ]  # fmt: skip


def text(cell, loss):
    record = network(
        "char", cell, 0, loss_validation=loss, loss_ratio=loss / 2, loss_baseline=2.0, solved=None
    )
    facts = {"ngram_losses": {"unigram": 3.0, "trigram": 2.0}}
    return replace(record, details={**record.details, "task": facts})


def timed(engine, cell, speed, launches=5, **figures):
    record = make(
        engine, cell, task="char", tokens_per_second=speed, tokens_per_second_low=0.99 * speed,
        tokens_per_second_high=1.01 * speed, **figures,
    )  # fmt: skip
    of_launches = [
        {"started_at": f"2026-01-01T00:00:{n:02}Z", "tokens_per_second": speed * (1 + n / 1000)}
        for n in range(launches)
    ]
    details = {"launches": launches, "launch_figures": of_launches}
    return replace(record, details={**record.details, **details})


def profile(trained=(), timings=(), against=("mingru",)):
    return Profile("gru", against, list(trained), list(timings))


def rows(content, section):
    return {
        row.name: {cell: entry.text.strip() for cell, entry in row.entries.items()}
        for row in content.rows_of(section)
    }


def said(content, section):
    return dict(sentences(content)).get(section, "")


def test_it_computes_what_its_seeds_solve_at_every_length():
    content = profile(ladder())
    assert rows(content, "computes") == {
        "rungs solved": {"gru": "2/2", "mingru": "0/2"},
        "parity": {"gru": "3/3 1.00 ✓", "mingru": "0/3 0.50"},
        "dyck": {"gru": "3/3 1.00 ✓", "mingru": "2/3 1.00"},
    }
    sentence = said(content, "computes")
    assert "gru solves 2 of 2 rungs: parity and dyck. mingru solves 0 of 2 rungs." in sentence
    assert "gru solves parity and dyck, mingru does not." in sentence
    assert "fewer than 5 seeds" in sentence


def test_with_five_seeds_four_are_enough_as_on_the_ladder():
    five = [
        rung("dyck", cell, seed, solved=seed < 4) for cell in ("gru", "mingru") for seed in range(5)
    ]
    content = profile(five)
    assert rows(content, "computes")["dyck"] == {"gru": "4/5 1.00 ✓", "mingru": "4/5 1.00 ✓"}
    assert said(content, "computes").endswith("gru and mingru solve the same rungs.")


def test_it_keeps_what_the_probes_found():
    latent = {"gru": 1.0, "mingru": 0.49}
    trained = [
        with_probes(
            each,
            memory={"capacity": 2.0 + each.trial.seed, "lags_steps": 24},
            latent={"accuracy": latent[each.trial.cell], "chance_accuracy": 0.5, "r2": None},
        )
        for each in ladder()
        if each.trial.task == "parity"
    ] + [*adding("gru", [600] * 3, -0.1), *adding("mingru", [600] * 3, 0.2)]
    content = profile(trained)
    steps = f"{math.log(100) / 0.1:.0f}"
    assert rows(content, "keeps") == {
        "capacity, parity T=20": {"gru": "3.00", "mingru": "3.00"},
        "latent, parity T=20": {"gru": "1.00 (0.50)", "mingru": "0.49 (0.50)"},
        "horizon, adding T=20": {"gru": steps, "mingru": "never"},
    }
    sentence = said(content, "keeps")
    assert (
        "state of gru with accuracy 1.00 (chance 0.50) and of mingru with accuracy 0.49" in sentence
    )
    assert f"falls to 1 % after {steps} steps for gru and never for mingru." in sentence


def test_a_probe_that_failed_is_named_with_its_reason():
    (record,) = adding("gru", [600])
    failed = {"lyapunov": {"version": 1, "failed": "it took over 120 s"}}
    content = profile([replace(record, details={**record.details, "probes": failed})])
    assert rows(content, "keeps") == {}
    assert said(content, "keeps") == (
        "Not measured: gru at adding T=20 (probe lyapunov failed: it took over 120 s)."
    )


def test_it_learns_in_the_median_number_of_steps_of_its_seeds():
    trained = [*adding("gru", [600, 900, 300]), *adding("mingru", [1200, None, None])]
    content = profile([*trained, text("gru", 1.5), text("mingru", 1.9)])
    assert rows(content, "learns") == {
        "adding T=20": {"gru": "3/3 in 600", "mingru": "1/3 not in 2,000"},
        "char T=20": {"gru": "1.50 (0.75x)", "mingru": "1.90 (0.95x)"},
    }
    assert said(content, "learns") == (
        "In most seeds, gru (600 steps) solves adding T=20; mingru does not. "
        "At char T=20, gru has the lowest loss: 1.50, 0.75x of the trigram's."
    )
    slower = profile([*adding("gru", [900] * 3), *adding("mingru", [600] * 3)])
    assert "mingru (600 steps) and gru (900 steps) solve adding T=20." in said(slower, "learns")
    none = profile([*adding("gru", [None] * 3), text("gru", 1.9), text("mingru", 1.5)])
    assert said(none, "learns").startswith("In most seeds, no cell solves adding T=20.")
    assert "mingru has the lowest loss: 1.50" in said(none, "learns")


def test_speed_stands_next_to_the_limit_and_only_a_clear_lead_is_the_fastest():
    timings = [
        timed("numpy:native", "gru", 2e5, fraction_of_serial_limit=0.41),
        timed("torch:native", "gru", 1e5),
        timed("numpy:native", "mingru", 5e5, fraction_of_serial_limit=None, fraction_of_peak=0.12),
    ]
    content = profile(timings=timings)
    assert rows(content, "speed")["numpy:native"] == {
        "gru": "200k ±1%  41% serial", "mingru": "500k ±1%  12% peak",
    }  # fmt: skip
    assert said(content, "speed") == (
        "gru is fastest as numpy:native: 200k tokens/s, 41% of its serial limit. "
        "With this engine, mingru has 2.50 times the tokens/s of gru."
    )
    few = profile(
        timings=[timed("numpy:native", "gru", 2e5, 3), timed("torch:native", "gru", 1e5, 3)]
    )
    assert "has its highest throughput as numpy:native" in said(few, "speed")
    assert "cannot be told: that takes 5 launches" in said(few, "speed")
    equal = profile(
        timings=[timed("numpy:native", "gru", 1.001e5), timed("torch:native", "gru", 1e5)]
    )
    assert said(equal, "speed").endswith("cannot be told.")


def test_an_engine_without_proof_is_marked_and_never_the_fastest():
    timings = [
        timed("numpy:native", "gru", 1e5),
        timed("torch:native", "gru", 9e5, parity_error=None, parity_tolerance=None),
    ]
    content = profile(timings=timings)
    assert "?" in rows(content, "speed")["torch:native"]["gru"]
    assert said(content, "speed").startswith("gru has its highest throughput as numpy:native")
    assert rows(content, "proof")["trials proven"] == {"gru": "1/2"}
    assert "not proven: gru on torch:native at char T=20" in said(content, "proof")


def test_the_proof_names_the_largest_deviation_and_every_failure():
    timings = [
        timed("numpy:native", "gru", 1e5, parity_error=3e-6),
        timed("jax:scan", "mingru", 1e5),
    ]
    content = profile(ladder(), timings)
    assert rows(content, "proof") == {
        "largest deviation": {"gru": "3.0e-06", "mingru": "2.0e-06"},
        "trials proven": {"gru": "7/7", "mingru": "7/7"},
    }
    assert said(content, "proof") == (
        "All 14 trials agree with the float64 reference. "
        "The largest deviation is 3.0e-06, of gru on numpy:native at char T=20."
    )
    wrong = timed("jax:scan", "mingru", 1e5, parity_error=2e-5)
    assert rows(profile(timings=[wrong]), "proof")["trials proven"] == {"mingru": "0/1"}
    failed = replace(timings[1], status="diverged", reason="at step 3")
    unsupported = replace(timings[0], status="unsupported", figures={})
    content = profile(timings=[failed, unsupported])
    assert rows(content, "speed")["jax:scan"] == {"mingru": "diverged"}
    assert "mingru on jax:scan at char T=20 diverged" in said(content, "proof")
    assert "gru" not in rows(content, "proof")["trials proven"]


@pytest.fixture
def whole():
    trained = [*ladder(), *adding("gru", [600] * 3), *adding("mingru", [None] * 3)]
    return profile(trained, [timed("numpy:native", "gru", 2e5), timed("jax:scan", "mingru", 1e5)])


def test_one_table_fits_a_hundred_columns(whole):
    lines = plain_text(ReportTables(Report((table_of(whole),), "")), WIDTH).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[0] == "profile of gru next to mingru"
    assert lines[1].split() == ["│", "gru", "mingru"]
    firsts = [line.split()[0] for line in lines if line[:1].isalpha()]
    sections = ["computes", "keeps", "learns", "speed", "proof"]
    assert [word for word in firsts if word in sections] == sections
    assert "computes: gru solves 2 of 2 rungs" in " ".join(lines)


def test_json_has_the_values_and_latex_the_table(whole):
    content = json.loads(to_json(whole))
    assert (content["cell"], content["against"]) == ("gru", ["mingru"])
    (parity,) = [row for row in content["sections"]["computes"] if row["name"] == "parity"]
    assert parity["cells"]["mingru"]["solved"] == 0
    assert content["sections"]["learns"][0]["cells"]["mingru"]["steps"] is None
    assert content["sentences"] == dict(sentences(whole))
    latex = latex_of(Report((table_of(whole),), ""))
    assert r"\caption{profile of gru next to mingru}" in latex
    assert r"3/3 1.00 $\surd$" in latex


def test_the_page_begins_with_the_sentences_and_the_table(whole):
    for library in ("jinja2", "altair", "vl_convert"):
        pytest.importorskip(library)
    from harness_results.page.build import page

    html = page(whole.records, whole.title, profile=whole)
    assert "<dt>Computes</dt><dd>gru solves 2 of 2 rungs" in html
    assert '<th class="label" scope="row">parity</th><td>3/3 1.00 ✓</td>' in html
    assert html.index('id="profile"') < html.index('id="chart-ladder"') < html.index('id="results"')
    assert html.count('id="chart-ladder"') == 1
    assert 'id="profile"' not in page(whole.records)
