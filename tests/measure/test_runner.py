import json
import math
import platform
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import paths
from harness.contract import (
    DivergedError,
    Evaluation,
    Missing,
    PluginError,
    Score,
    Trial,
    UnavailableError,
    UnsupportedError,
)
from harness.contract.records.columns import FIGURE_NAMES
from harness.measure import checkpoint, runner, sampling
from harness.measure.events import Evaluated, Finished, Phase, Progress, from_json, to_json
from harness.measure.proof import flow
from harness.measure.record_builder import RecordBuilder
from harness.measure.runner import DROPOUT_NOTE, IDLE_DROPOUT_NOTE, Settings, run_trial
from harness.measure.sampling import TEMPERATURES
from harness.plugins import load_plugins
from harness.plugins.catalog import Loaded
from harness_numpy.trainer import NumpyTrainer
from harness_results.study import findings
from harness_tasks import Copy

pytestmark = pytest.mark.slow

FAULTY = paths.FAULTY


@pytest.fixture
def plugins(monkeypatch):
    monkeypatch.syspath_prepend(FAULTY)
    return load_plugins(block=("jax", "torch"))


def trial(**changes):
    small = {"backend": "faulty", "variant": "good", "task": "echo", "cell": "rnn"}
    sizes = {"length": 3, "hidden": 4, "batch": 2, "steps": 8}
    return Trial(**(small | sizes | changes))


def measure(plugins, settings=None, **changes):
    """Return the record of a trial run in this process."""
    (finished,) = [
        event
        for event in run_trial(trial(**changes), settings, plugins=plugins)
        if isinstance(event, Finished)
    ]
    return finished.record


def having(plugins, backend):
    """Return the plugins with this backend as ``faulty``."""
    return replace(plugins, backends=plugins.backends | {"faulty": backend})


def test_the_phases_come_in_order_and_the_record_last(plugins):
    events = list(run_trial(trial(), plugins=plugins))
    phases = [event.name for event in events if isinstance(event, Phase)]
    assert phases == [
        "load", "prepare", "build", "parity", "flow", "evaluate", "compile", "first_step", "train",
        "evaluate",
        "audit", "limits", "finish",
    ]  # fmt: skip
    assert isinstance(events[-1], Finished)
    assert events[-1].record.status == "ok"
    assert set(events[-1].record.details["phase_seconds"]) == set(phases)


def test_nothing_is_printed(plugins, capfd):
    measure(plugins)
    assert capfd.readouterr() == ("", "")


def test_every_kind_of_figure_is_filled(plugins):
    figures = measure(plugins, steps=40).figures
    # No floor and no compiling here, and eight steps do not solve the task.
    expected_unknown = {"loss_floor", "compile_seconds", "steps_to_solve"}
    assert {name for name in FIGURE_NAMES if figures.get(name) is None} <= expected_unknown
    assert figures["parameters"] == 3 * 4 + 4 * 4 + 4 + 4 + 4 * 3 + 3
    assert (
        figures["tokens_per_second_low"]
        <= figures["tokens_per_second"]
        <= figures["tokens_per_second_high"]
    )
    assert figures["parity_error"] <= figures["parity_tolerance"]
    assert figures["loss_ratio"] == pytest.approx(figures["loss_validation"] / np.log(3))
    assert figures["peak_memory_bytes"] >= 0


LITTER = """
import sys
import numpy as np
from harness.contract import Trial
from harness.measure.runner import run_trial
from harness.plugins import load_plugins
from harness_tasks import Copy

kept, make = [], Copy.__init__

def littering(self, *arguments):
    # Each array is in the heap.
    kept.extend(np.ones(100_000, dtype=np.uint8) for _ in range(int(sys.argv[1])))
    del kept[:-1]  # the last keeps the heap from shrinking by itself
    make(self, *arguments)

Copy.__init__ = littering
engine = dict(backend="numpy", variant="vectorised", task="copy", cell="rnn")
options = {"symbols": 10, "alphabet": 8}
trial = Trial(**engine, task_options=options, length=40, hidden=128, batch=128, steps=8)
*_, finished = run_trial(trial, plugins=load_plugins(block=("jax", "torch")))
print(finished.record.figures["peak_memory_bytes"])
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another C library has its own way with free memory"
)
def test_what_loading_left_behind_is_not_taken_off_the_peak_of_training():
    plain, littered = (
        int(
            subprocess.run(
                [sys.executable, "-c", LITTER, number], capture_output=True, check=True
            ).stdout
        )
        for number in ("0", "1000")
    )
    assert littered > 0.5 * plain > 10e6


class DivergesInABlock(NumpyTrainer):
    """Diverges at step 11; all later steps of its block report a norm that was clipped."""

    steps = 0

    def train_step(self, batch):
        self.steps += 1
        result = super().train_step(batch)
        return replace(
            result, clipped=self.steps > 11, loss=math.nan if self.steps >= 11 else result.loss
        )


def test_a_training_ends_at_the_step_that_diverged_whatever_the_blocks(plugins):
    class Diverging(type(plugins.backend("faulty"))):
        def trainer(self, model, optimizer, parameters, execution):
            execution = replace(execution, variant="vectorised")
            return DivergesInABlock(model, optimizer, parameters, execution)

    record = measure(having(plugins, Diverging()), steps=200)
    assert (record.status, record.reason) == ("diverged", "diverged at step 11")
    assert len(record.curves["loss"]) == len(record.curves["gradient_norm"]) == 11
    assert record.figures["clipped_fraction"] == 0


def test_the_tokens_of_a_step_are_counted_as_the_network_runs_them(plugins):
    assert measure(plugins).details["tokens_per_step"] == 3 * 2
    copying = measure(plugins, backend="numpy", variant="vectorised", task="copy")
    assert copying.details["tokens_per_step"] == Copy(Copy.Options(), 3).time_steps * 2
    assert measure(plugins, steps=1).details["tokens_per_step"] is None


def test_equal_trials_learn_equally_on_every_variant(plugins):
    curves = [measure(plugins, variant=variant).curves for variant in ("good", "good", "lazy")]
    assert curves[0]["loss"] == curves[1]["loss"] == curves[2]["loss"]
    assert curves[0]["gradient_norm"] == curves[2]["gradient_norm"]


def test_evaluating_more_often_changes_nothing_in_training(plugins):
    seldom, often = measure(plugins), measure(plugins, evaluate_every=1)
    assert often.curves["loss"] == seldom.curves["loss"]
    assert often.curves["evaluations"][-1] == seldom.curves["evaluations"][-1]


def test_evaluations_come_at_the_start_every_so_often_and_at_the_end(plugins):
    record = measure(plugins, evaluate_every=3)
    assert [evaluation["step"] for evaluation in record.curves["evaluations"]] == [0, 3, 6, 8]
    assert record.figures["loss_validation"] == record.curves["evaluations"][-1]["loss_validation"]
    best = min(record.curves["evaluations"], key=lambda evaluation: evaluation["loss_validation"])
    assert record.details["best_step"] == best["step"]
    assert record.details["best_loss_validation"] == best["loss_validation"]
    last = record.curves["evaluations"][-1]
    assert record.details["overfitting_gap"] == last["loss_validation"] - last["loss_train_eval"]


@pytest.mark.parametrize("variant", ["good", "lazy"])
def test_evaluations_before_the_end_read_a_sample_and_the_last_reads_all(plugins, variant):
    validation = {"task": "copy", "task_options": {"validation_sequences": 40}}
    record = measure(plugins, **validation, variant=variant, evaluate_every=3)
    entries = record.curves["evaluations"]
    of_batch = record.details["tokens_per_step"]
    assert [(entry["step"], entry["tokens_validation"] / of_batch) for entry in entries] == [
        (0, 8), (3, 8), (6, 8), (8, 8), (8, 20),
    ]  # fmt: skip
    assert [entry["tokens_train_eval"] for entry in entries[:2]] == [None, 8 * of_batch]
    assert record.figures["loss_validation"] == entries[-1]["loss_validation"]
    best = min(entry["loss_validation"] for entry in entries[:-1])
    assert record.details["best_loss_validation"] == best
    gap = entries[-1]["loss_validation"] - entries[-1]["loss_train_eval"]
    assert record.details["overfitting_gap"] == gap


@pytest.mark.parametrize(
    ("sample", "full", "first", "lost"),
    [
        ([False, True, True], True, 10, None),
        ([False, True, True], False, None, None),  # the sample was too easy
        ([False, True, False], False, 10, 20),
        ([False, False, False], True, 20, None),
        ([False, True, False], True, 10, None),
    ],
)
def test_the_evaluation_in_full_decides_whether_the_task_is_solved(sample, full, first, lost):
    builder = RecordBuilder(trial(), losses=[1.0])
    for number, held in enumerate(sample):
        builder.add(Evaluated(Evaluation(10 * number, 1.0, 0.5, tokens_validation=5), held))
    builder.add(Evaluated(Evaluation(20, 0.9, 0.5, tokens_validation=50), full))
    record = builder.record("ok")
    figures = record.figures
    assert (figures["solved"], figures["steps_to_solve"]) == (full, first)
    assert record.details["solved_lost_at"] == lost
    assert (figures["loss_validation"], record.details["best_loss_validation"]) == (0.9, 1.0)


def test_seeds_are_separate(plugins):
    base, data, evaluation = (
        measure(plugins),
        measure(plugins, data_seed=7),
        measure(plugins, evaluation_seed=7),
    )
    assert data.curves["loss"] != base.curves["loss"]
    assert (
        data.curves["evaluations"][0]["loss_validation"]
        == base.curves["evaluations"][0]["loss_validation"]
    )
    assert evaluation.curves["loss"] == base.curves["loss"]
    assert evaluation.figures["loss_validation"] != base.figures["loss_validation"]


def test_the_task_is_solved_at_the_first_evaluation_that_says_so(plugins):
    record = measure(plugins, steps=200, learning_rate=0.05, hidden=8, batch=8, evaluate_every=20)
    solved = [
        evaluation["step"]
        for evaluation in record.curves["evaluations"]
        if evaluation["accuracy"] > 0.99
    ]
    assert record.figures["solved"] is True
    assert record.figures["steps_to_solve"] == solved[0]


@pytest.mark.parametrize(
    ("solved", "first", "lost"),
    [
        ([False, True, True], 10, None),
        ([False, True, False, True, False], 10, 20),
        ([False, True, True, True, False], 10, 40),
        ([False, False], None, None),
    ],
)
def test_a_criterion_that_is_lost_again_is_kept_with_its_step(solved, first, lost):
    builder = RecordBuilder(trial(), losses=[1.0])
    for number, held in enumerate(solved):
        builder.add(Evaluated(Evaluation(10 * number, 1.0, 0.5), held))
    record = builder.record("ok")
    assert (record.figures["steps_to_solve"], record.details["solved_lost_at"]) == (first, lost)
    assert record.figures["solved"] is solved[-1]
    assert record.columns()["solved_lost_at"] == lost


def test_losses_are_compared_with_the_baseline_of_the_validation_batches(plugins):
    options = {"task": "adding", "task_options": {"validation_sequences": 20}}
    records = [measure(plugins, **options, length=10, evaluation_seed=seed) for seed in range(3)]
    assert len({record.figures["loss_baseline"] for record in records}) == 3
    for record in records:
        figures = record.figures
        assert (
            record.details["loss_baseline_exact"]
            == record.columns()["loss_baseline_exact"]
            == pytest.approx(1 / 6)
        )
        assert figures["loss_baseline"] != pytest.approx(1 / 6, rel=1e-3)
        assert figures["loss_ratio"] == pytest.approx(
            figures["loss_validation"] / figures["loss_baseline"]
        )


def test_a_task_that_says_nothing_further_is_compared_with_its_exact_baseline(plugins):
    record = measure(plugins)
    assert (
        record.figures["loss_baseline"]
        == record.details["loss_baseline_exact"]
        == pytest.approx(np.log(3))
    )
    assert (record.details["criterion"], record.details["steps_per_epoch"]) == ("", None)


def test_further_scores_are_kept_by_name(plugins):
    record = measure(plugins, task="copy", task_options={"symbols": 1, "alphabet": 2}, length=2)
    last = record.curves["evaluations"][-1]["extra"]
    assert record.details["scores"] == last == json.loads(record.columns()["scores"])
    assert 0 <= last["exact_match"] <= 1


@pytest.mark.parametrize(
    ("method", "answer", "reason"),
    [
        ("baseline_outputs", lambda self, batch: 1.0, r"expected \(T, B, K\) = .* got float"),
        (
            "baseline_outputs",
            lambda self, batch: np.full((*batch.mask.shape, self.outputs), np.nan),
            "expected a finite number",
        ),
        ("criterion", 3, "expected a text, got 3"),
        ("steps_per_epoch", lambda self, batch: 0, "expected None or a positive number, got 0"),
    ],
)
def test_a_task_that_misdescribes_its_learning_is_named(plugins, method, answer, reason):
    record = measure(with_task(plugins, type("Odd", (Copy,), {method: answer})), task="copying")
    assert record.status == "failed"
    assert re.fullmatch(
        f"invalid {method}: {reason}.*; task 'copying' from harness-copying 2.0", record.reason
    )


def test_over_fitting_is_told_of_a_small_fixed_set_and_never_of_fresh_data(plugins):
    asked = {
        "backend": "numpy",
        "variant": "vectorised",
        "task": "adding",
        "cell": "lstm",
        "length": 10,
        "hidden": 24,
    }
    asked |= {"batch": 10, "steps": 600, "learning_rate": 0.02, "evaluate_every": 100}
    small = measure(plugins, **asked, task_options={"data": "fixed", "sequences": 10})
    assert findings.overfitting(small) is not None
    assert small.details["overfitting_gap"] > 3 * small.details["overfitting_gap_error"]
    for seed in range(4):
        options = {"validation_sequences": 20}  # two small samples, whose losses differ much
        fresh = measure(
            plugins,
            **asked | {"seed": seed, "steps": 100, "evaluate_every": 10},
            task_options=options,
        )
        assert findings.overfitting(fresh) is None
        assert fresh.details["steps_per_epoch"] is None


def test_the_initial_loss_is_before_any_update_and_the_final_one_the_mean_of_the_last_twentieth(
    plugins,
):
    record = measure(plugins, steps=40)
    assert record.figures["loss_initial"] == record.curves["loss"][0]
    assert record.figures["loss_final"] == pytest.approx(np.mean(record.curves["loss"][-2:]))


def test_gradient_figures_are_those_of_the_curve(plugins):
    record = measure(plugins, clip_norm=1e-3)
    norms, figures = record.curves["gradient_norm"], record.figures
    assert len(norms) == 8
    assert (figures["gradient_norm_first"], figures["gradient_norm_last"]) == (norms[0], norms[-1])
    assert (figures["gradient_norm_median"], figures["gradient_norm_max"]) == (
        np.median(norms),
        max(norms),
    )
    assert figures["clipped_fraction"] == 1.0
    assert measure(plugins).figures["clipped_fraction"] == 0.0


def test_gradient_flow_is_kept_before_and_after_training(plugins):
    record = measure(plugins)
    flow = record.curves["gradient_flow"]
    assert flow.keys() == {"initial", "final"}
    assert record.figures["gradient_decay"] == flow["final"]["decay"] != flow["initial"]["decay"]


def test_a_lazy_backend_is_charged_for_its_work(plugins):
    record = measure(plugins, variant="lazy")
    # The fake sleeps so long; only a lower bound holds on a busy machine.
    assert record.figures["step_seconds_median"] >= 0.02
    assert record.figures["first_step_seconds"] >= 0.02


def test_compiling_is_timed_only_where_something_was_compiled(plugins):
    assert measure(plugins, variant="compiled").figures["compile_seconds"] > 0
    assert "compile_seconds" not in measure(plugins).figures


def test_one_step_works_and_gives_no_speed(plugins):
    record = measure(plugins, steps=1)
    assert record.status == "ok"
    assert record.figures["first_step_seconds"] > 0
    assert record.figures.get("tokens_per_second") is None
    assert record.details["flags"] == ["no timed block: raise --steps"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"variant": "hexagonal"}, "runs rnn as good, compiled, lazy, .* not as 'hexagonal'"),
        ({"device": "abacus"}, "no device 'abacus': cpu"),
    ],
)
def test_what_a_backend_cannot_do_is_unsupported(plugins, changes, reason):
    record = measure(plugins, **changes)
    assert record.status == "unsupported"
    assert re.search(reason, record.reason)


def test_a_missing_library_is_unsupported_with_the_fix(plugins):
    backend = type(
        "Absent",
        (type(plugins.backend("faulty")),),
        {"availability": lambda self: Missing("no abacus", "buy one")},
    )
    record = measure(having(plugins, backend()))
    assert (record.status, record.reason) == (
        "unsupported",
        "backend 'faulty' cannot run here: no abacus. Fix: buy one",
    )


def test_a_backend_without_the_cell_says_which_it_has(plugins):
    picky = type("Picky", (type(plugins.backend("faulty")),), {})
    picky.variants = lambda self, cell: ("good",) if cell.name in {"gru", "lstm"} else ()
    record = measure(having(plugins, picky()))
    reason = "backend 'faulty' does not run the cell rnn; it runs: lstm, gru"
    assert (record.status, record.reason) == ("unsupported", reason)


def test_a_variant_that_turns_out_to_be_missing_is_unsupported(plugins):
    class Losing(type(plugins.backend("faulty"))):
        lost = False

        def variants(self, cell):
            return () if self.lost else ("good",)

        def missing_variants(self):
            return {"good": Missing("it cannot be built", "mend the compiler")} if self.lost else {}

        def trainer(self, *args):
            self.lost = True
            raise UnavailableError("kernel.c")

    record = measure(having(plugins, Losing()))
    reason = "faulty:good cannot run here: it cannot be built. Fix: mend the compiler"
    assert (record.status, record.reason) == ("unsupported", reason)


def test_what_else_cannot_be_had_fails(plugins):
    class Without(type(plugins.backend("faulty"))):
        def trainer(self, *args):
            raise UnavailableError("it has 1 of 2 devices")

    record = measure(having(plugins, Without()))
    assert (record.status, record.reason) == ("failed", "it has 1 of 2 devices")


def test_why_unsupported_is_the_reason(plugins):
    backend = type(
        "Picky",
        (type(plugins.backend("faulty")),),
        {"why_unsupported": lambda self, model, trial: "too small"},
    )
    record = measure(having(plugins, backend()))
    assert (record.status, record.reason) == ("unsupported", "too small")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("availability", 7),
        ("variants", None),
        ("devices", ()),
        ("dtypes", None),
        ("deviation", 7),
        ("deviation", ""),
        ("why_unsupported", ""),
        ("versions", {"odd": 1}),
    ],
)
def test_an_answer_of_the_wrong_kind_fails_the_trial_with_the_question_and_the_fix(
    plugins, question, answer
):
    odd = type("Odd", (type(plugins.backend("faulty")),), {question: lambda *_: answer})()
    record = measure(having(plugins, odd))
    assert record.status == "failed"
    assert record.reason.startswith(f"backend 'faulty' is broken: {question}() returned ")
    assert re.search(r" Fix: .*; backend 'faulty' from \S+ \S+$", record.reason)


class FullError(Exception):
    """The error of an engine whose device is full."""


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (UnsupportedError("this GPU is too old"), "unsupported", "this GPU is too old"),
        (
            UnsupportedError(),
            "failed",
            "backend 'faulty' is broken: why_unsupported() raised UnsupportedError",
        ),
        (MemoryError("no more"), "out_of_memory", "out of memory: MemoryError: no more"),
        (FullError("no more"), "out_of_memory", "out of memory: FullError: no more"),
        (
            ValueError("no idea"),
            "failed",
            "backend 'faulty' is broken: why_unsupported() raised ValueError: no idea",
        ),
    ],
)
def test_what_a_backend_raises_in_place_of_an_answer_is_told_by_its_kind(
    plugins, error, status, reason
):
    class Odd(type(plugins.backend("faulty"))):
        def why_unsupported(self, model, trial):
            raise error

        def is_out_of_memory(self, error):
            return isinstance(error, FullError)

    record = measure(having(plugins, Odd()))
    assert record.status == status
    assert record.reason.startswith(reason)


class Panic(BaseException):
    """As pyo3 raises for a panic of Rust: no ``Exception``, and here without words."""

    def __str__(self):
        raise ValueError("no words")


def test_an_error_of_any_kind_is_a_failed_trial(plugins):
    class Odd(type(plugins.backend("faulty"))):
        def trainer(self, *_):
            raise Panic

    record = measure(having(plugins, Odd()))
    assert record.status == "failed"
    assert re.fullmatch(r"Panic; backend 'faulty' from \S+ \S+", record.reason)


def test_one_that_comes_after_the_measurement_costs_no_figure(plugins):
    class Odd(type(plugins.backend("faulty"))):
        def product_chain(self, *_):
            raise Panic

    record = measure(having(plugins, Odd()))
    assert record.status == "ok"
    assert record.details["limits"]["reason"] == "Panic"


def test_ctrl_c_ends_the_worker(plugins):
    class Odd(type(plugins.backend("faulty"))):
        def trainer(self, *_):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(having(plugins, Odd()))


def test_an_unknown_task_fails_with_the_names_that_exist(plugins):
    record = measure(plugins, task="ecco")
    assert record.status == "failed"
    assert "Did you mean echo" in record.reason


def test_a_task_whose_data_ends_is_named(plugins):
    echo = plugins.task("echo")
    short = type(
        "Short", (echo,), {"training": lambda self, rng, batch: iter([self.batch(rng, batch)])}
    )
    record = measure(replace(plugins, tasks=plugins.tasks | {"echo": short}))
    assert record.status == "failed"
    assert "training data ended" in record.reason
    assert "task 'echo' from faulty 1.0" in record.reason


class Clumsy(Copy):
    """A task of another distribution than the backend's, with a fault in one method."""

    faulty = ""

    def baseline(self):
        return self.fault("baseline") or super().baseline()

    def draw(self, rng, sequences):
        return self.fault("draw") or super().draw(rng, sequences)

    def score(self, batch, outputs):
        return self.fault("score") or super().score(batch, outputs)

    def fault(self, method):
        if method == self.faulty:
            raise ValueError("oops")


def with_task(plugins, task):
    offered = Loaded("copying", "harness-copying 2.0", (("task", "copying"),))
    return replace(
        plugins, tasks=plugins.tasks | {"copying": task}, loaded=(*plugins.loaded, offered)
    )


@pytest.mark.parametrize("method", ["baseline", "draw", "score"])
def test_an_error_in_a_task_names_the_task_and_not_the_backend(plugins, method, monkeypatch):
    monkeypatch.setattr(Clumsy, "faulty", method)
    record = measure(with_task(plugins, Clumsy), task="copying")
    assert record.status == "failed"
    assert record.reason == "ValueError: oops; task 'copying' from harness-copying 2.0"


@pytest.mark.parametrize("method", ["validation", "training_sample"])
def test_a_task_without_batches_to_evaluate_on_is_named(plugins, method):
    record = measure(
        with_task(plugins, type("Bare", (Copy,), {method: lambda self, *arguments: []})),
        task="copying",
    )
    assert record.status == "failed"
    assert re.fullmatch(
        f"invalid {method}: expected batches.*; task 'copying' from harness-copying 2.0",
        record.reason,
    )


class Narrow(Copy):
    """Every number that this task hands out is NumPy's float32 or int64."""

    def baseline(self):
        return np.float32(super().baseline())

    def floor(self):
        return np.float32(0)

    def score(self, batch, outputs):
        score = super().score(batch, outputs)
        extra = {
            name: (np.float32(value), np.int64(count))
            for name, (value, count) in score.extra.items()
        }
        return Score(np.float32(score.hits), np.int64(score.total), extra)

    def facts(self):
        return {"symbols": np.int64(8), "rate": np.float32(0.5), "fixed": np.bool_(False)}


def test_numbers_of_numpy_from_a_task_become_a_record_in_json(plugins):
    record = measure(with_task(plugins, Narrow), task="copying")
    assert record.status == "ok"
    events = run_trial(trial(task="copying"), plugins=with_task(plugins, Narrow))
    lines = [json.dumps(to_json(event), allow_nan=False) for event in events]
    assert '"loss_floor": 0.0' in lines[-1]
    assert json.dumps(record.details["task"]) == '{"symbols": 8, "rate": 0.5, "fixed": false}'


@pytest.mark.parametrize("method", ["baseline", "floor"])
@pytest.mark.parametrize("loss", ["low", float("nan")])
def test_a_loss_that_is_no_number_fails_with_the_tasks_name(plugins, method, loss):
    record = measure(
        with_task(plugins, type("Odd", (Copy,), {method: lambda self: loss})), task="copying"
    )
    assert record.status == "failed"
    assert re.fullmatch(
        f"invalid {method}: expected a .*; task 'copying' from harness-copying 2.0", record.reason
    )


def test_a_bias_that_the_cell_does_not_have_is_unsupported(plugins):
    record = measure(plugins, cell="rnn", forget_bias=1.0)
    assert record.status == "unsupported"
    assert "rnn names none" in record.reason


def test_too_few_blocks_give_a_speed_without_an_interval(plugins):
    figures = measure(plugins, steps=4).figures
    assert figures["tokens_per_second"] > 0
    assert figures["tokens_per_second_low"] is None
    assert figures["tokens_per_second_high"] is None


def test_an_error_of_the_harness_in_training_is_told_by_its_kind(plugins):
    class Diverging(type(plugins.backend("faulty"))):
        def trainer(self, *args):
            raise DivergedError("diverged before the start")

    record = measure(having(plugins, Diverging()))
    assert (record.status, record.reason) == ("diverged", "diverged before the start")


def test_what_a_plugin_says_in_an_error_is_kept_in_part(plugins):
    class Verbose(type(plugins.backend("faulty"))):
        def trainer(self, *args):
            raise self.kind("y" * 5_000_000)

    for kind in (RuntimeError, UnsupportedError, MemoryError, PluginError, SystemExit):
        Verbose.kind = kind
        record = measure(having(plugins, Verbose()))
        assert len(record.reason) < 2100
        assert "characters more)" in record.reason
        assert ("backend 'faulty' from faulty 1.0" in record.reason) == (record.status == "failed")
        assert len(record.details.get("traceback", "")) < 17_000
    assert record.details["traceback"].startswith("Traceback")


def test_what_a_plugin_says_in_an_error_after_training_is_kept_in_part(plugins, monkeypatch):
    monkeypatch.setattr(sampling, "sample_text", lambda *_, **__: {}["y" * 5_000_000])
    (flag,) = (
        flag
        for flag in measure(plugins, Settings(sample_length=5)).details["flags"]
        if "sample" in flag
    )
    assert "characters more); backend 'faulty' from faulty 1.0" in flag


def test_threads_that_are_not_what_was_asked_for_fail_the_trial(plugins):
    backend = type("Greedy", (type(plugins.backend("faulty")),), {"threads": lambda self: 64})()
    record = measure(having(plugins, backend))
    assert record.status == "failed"
    assert "1 threads were asked for, the engine uses 64; give --threads 64" in record.reason
    assert record.figures.get("tokens_per_second") is None


def test_processors_that_are_not_what_was_asked_for_fail_the_trial(plugins):
    record = measure(plugins, settings=Settings(affinity=(4095,)))
    assert record.status == "failed"
    assert "processors [4095] were asked for" in record.reason


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ("elsewhere", "device cpu was asked for, the results lie on host"),
        ("wide", "the results are float64"),
    ],
)
def test_results_on_another_device_or_in_another_dtype_fail_the_trial(plugins, variant, reason):
    record = measure(plugins, variant=variant)
    assert (record.status, reason in record.reason) == ("failed", True)
    assert "faulty" in record.reason


def test_the_placement_is_stored(plugins):
    expected = {"device": "cpu", "dtype": "float32", "matmul_precision": None, "devices": 1}
    assert measure(plugins).details["placement"] == expected


def test_an_engine_that_does_not_tell_its_device_is_flagged(plugins):
    record = measure(plugins, variant="silent")
    assert (record.status, record.details["placement"]) == ("ok", {})
    flag = (
        "device and dtype are not verified: the engine does not report them; "
        "backend 'faulty' from faulty 1.0"
    )
    assert flag in record.details["flags"]
    assert flag not in measure(plugins).details["flags"]


def test_a_recompilation_while_steps_are_timed_is_counted_and_flagged(plugins):
    record = measure(plugins, variant="recompiles", steps=40)
    compiled = record.details["recompilations"]
    assert compiled > 0
    assert any(
        f"compiled {compiled} times while it was timed" in flag for flag in record.details["flags"]
    )
    assert measure(plugins, steps=40).details["recompilations"] == 0


def test_dropout_comes_with_a_note(plugins):
    record = measure(plugins, layers=2, dropout=0.5)
    assert record.details["notes"] == [DROPOUT_NOTE]
    assert measure(plugins, dropout=0.5).details["notes"] == [IDLE_DROPOUT_NOTE]
    assert "notes" not in measure(plugins).details


def test_the_checkpoint_holds_the_trained_weights_and_text_is_sampled(plugins, tmp_path):
    path = tmp_path / "trained.safetensors"
    record = measure(plugins, Settings(checkpoint=str(path), sample_length=5))
    parameters, saved, vocabulary = checkpoint.load(path)
    assert record.details["checkpoint"] == str(path)
    assert saved == trial()
    assert vocabulary.symbols == "abc"
    assert parameters["weight_hh_l0"].shape == (4, 4)
    samples = record.details["samples"]
    assert [sample["temperature"] for sample in samples] == list(TEMPERATURES)
    assert all(len(sample["text"]) == 5 and set(sample["text"]) <= set("abc") for sample in samples)


def test_a_checkpoint_that_cannot_be_written_is_flagged_and_costs_no_figure(plugins, tmp_path):
    record = measure(
        plugins, Settings(checkpoint=str(tmp_path / "missing" / "trained.safetensors"))
    )
    assert record.status == "ok"
    assert any("cannot write the checkpoint" in flag for flag in record.details["flags"])


@pytest.mark.parametrize("variant", ["good", "lazy"])
def test_text_is_sampled_over_training_at_the_same_steps(plugins, variant):
    record = measure(plugins, Settings(sample_length=5, sample_every=15), variant=variant, steps=40)
    samples = record.details["samples_over_training"]
    assert [sample["step"] for sample in samples] == [1, 15, 30, 40]
    assert {sample["temperature"] for sample in samples} == {0.5}
    assert all(set(sample["text"]) <= set("abc") for sample in samples)
    assert samples[-1]["text"] == record.details["samples"][0]["text"]
    plain = measure(plugins, variant=variant, steps=40)
    assert plain.curves["loss"] == record.curves["loss"]
    assert "samples_over_training" not in plain.details


def test_samples_over_training_go_through_the_pipe_and_stay_if_the_worker_is_lost(plugins):
    builder = RecordBuilder(trial())
    for event in run_trial(trial(), Settings(sample_length=5, sample_every=4), plugins=plugins):
        builder.add(from_json(json.loads(json.dumps(to_json(event)))))
        if isinstance(event, Progress) and event.step > 4:
            break
    samples = builder.record("timeout", "timeout after 1 s").details["samples_over_training"]
    assert [sample["step"] for sample in samples] == [1, 4]


def test_no_text_is_sampled_after_the_step_that_diverged(plugins):
    class Diverging(type(plugins.backend("faulty"))):
        def trainer(self, model, optimizer, parameters, execution):
            execution = replace(execution, variant="vectorised")
            return DivergesInABlock(model, optimizer, parameters, execution)

    settings = Settings(sample_length=5, sample_every=11)
    record = measure(having(plugins, Diverging()), settings, steps=200)
    assert record.status == "diverged"
    assert [sample["step"] for sample in record.details["samples_over_training"]] == [1]
    assert not any("sample" in flag for flag in record.details["flags"])


def test_a_sample_that_cannot_be_drawn_is_flagged_and_costs_no_figure(plugins, monkeypatch):
    monkeypatch.setattr(sampling, "sample_text", lambda *_, **__: {}["missing"])
    record = measure(plugins, Settings(sample_length=5), steps=40)
    assert record.status == "ok"
    assert (
        "a sample of text failed: KeyError: 'missing'; backend 'faulty' from faulty 1.0"
        in record.details["flags"]
    )
    assert record.figures["tokens_per_second"] > 0
    assert "samples" not in record.details


def test_a_gradient_flow_that_cannot_be_measured_after_training_is_flagged_and_unknown(
    plugins, monkeypatch
):
    first = []

    def measure_once(trainer, batch):
        if first:
            raise MemoryError("no room")
        first.append(flow.measure_flow(trainer, batch))
        return first[0]

    monkeypatch.setattr(runner, "measure_flow", measure_once)
    record = measure(plugins, steps=40)
    assert record.status == "ok"
    flag = (
        "gradient flow after training failed: MemoryError: no room; "
        "backend 'faulty' from faulty 1.0"
    )
    assert flag in record.details["flags"]
    assert record.figures["tokens_per_second"] > 0
    assert (record.figures["gradient_horizon"], record.figures["gradient_decay"]) == (None, None)
    assert set(record.curves["gradient_flow"]) == {"initial"}


def test_events_survive_their_journey_and_rebuild_the_record(plugins):
    builder = RecordBuilder(trial())
    for event in run_trial(trial(evaluate_every=4), plugins=plugins):
        again = from_json(json.loads(json.dumps(to_json(event), allow_nan=False)))
        if isinstance(event, Finished):
            assert again.record.to_json() == event.record.to_json()
            assert builder.record("ok").figures == event.record.figures
        else:
            assert isinstance(again, type(event))
            builder.add(again)


def test_a_partial_record_has_no_figure_that_needs_the_whole_training(plugins):
    builder = RecordBuilder(trial())
    for event in run_trial(trial(), plugins=plugins):
        builder.add(event)
        if isinstance(event, Progress) and event.step >= 4:
            break
    record = builder.record("timeout", "timeout after 1 s")
    assert len(record.curves["loss"]) == record.figures["clipped_fraction"] + 4
    assert record.figures["gradient_norm_max"] > 0
    assert (
        not {"loss_final", "loss_validation", "first_step_seconds", "tokens_per_second"}
        & record.figures.keys()
    )


def test_an_evaluation_says_whether_it_solves_the_task(plugins):
    evaluated = [
        event for event in run_trial(trial(), plugins=plugins) if isinstance(event, Evaluated)
    ]
    assert [event.evaluation.step for event in evaluated] == [0, 8]
    assert evaluated[0].solved is False


def test_facts_that_cannot_be_stored_fail_with_the_tasks_name(plugins, monkeypatch):
    monkeypatch.setattr(plugins.tasks["echo"], "facts", lambda self: {"losses": np.ones(2)})
    record = measure(plugins)
    assert record.status == "failed"
    assert re.search(r"invalid facts: .*ndarray.*; task 'echo' from faulty 1\.0$", record.reason)


@pytest.mark.parametrize("checkpoint", ["auto", 2])
def test_checkpoints_are_asked_for_in_training_and_in_parity(plugins, checkpoint, monkeypatch):
    asked = []
    backend = plugins.backends["faulty"]
    monkeypatch.setattr(
        backend,
        "trainer",
        lambda *a: asked.append(a[3].checkpoint) or type(backend).trainer(backend, *a),
        raising=False,
    )
    assert measure(plugins, checkpoint=checkpoint).status == "ok"
    assert asked == [checkpoint] * 2


def test_a_backend_without_checkpoints_refuses_them(plugins, monkeypatch):
    monkeypatch.setattr(type(plugins.backends["faulty"]), "checkpoints", False)
    record = measure(plugins, checkpoint=3)
    assert (record.status, record.figures) == ("unsupported", {})
    assert record.reason == "backend 'faulty' has no checkpointed BPTT: leave --checkpoint out"


def test_a_deviating_variant_is_marked_and_not_held_against_the_reference(plugins):
    record = measure(plugins, variant="inexact", cell="lstm")
    assert record.status == "ok"
    assert record.details["deviation"] == "the forget gate is missing"
    assert "another function: the forget gate is missing" in record.details["flags"]
    assert record.figures.get("parity_error") is None
    assert measure(plugins, variant="inexact").status == "parity_failed"
