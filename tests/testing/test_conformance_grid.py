"""The kit's grid of shapes, checkpointed BPTT, and variants that declare a deviation."""

import gc
import itertools
import os
import re
import weakref
from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from harness.cells import LSTM, RNN
from harness.cells.minimal import MinGRU, MinLSTM
from harness.cli.main import NOT_OK, OK, cli
from harness.cli.work import check as check_verb
from harness.contract import Cell, Missing, UnavailableError
from harness.plugins import load_plugins
from harness.testing import Check, checks_for_backend, checks_for_cell, run_check
from harness.testing.backend import suite
from harness.testing.backend.grid import AXES, cover, product
from harness.testing.backend.suite import CELL_CHECKS, VARIANT_CHECKS
from harness.testing.backend.verification import float32_is_computed_in_float32
from harness.testing.bench import FEW_SHAPES, Bench
from harness.testing.compare import NotApplicable
from harness_numpy import NumpyBackend
from harness_numpy.trainer import NumpyTrainer
from harness_tasks import Parity

pytestmark = pytest.mark.slow

ERROR = r"error \d\.\d\de[+-]\d\d"
BOTH = ("float64", "float32")
TOO_LARGE = "are n/a: too large"


class Fake(NumpyBackend):
    """The NumPy backend with another trainer, which may look at how it is executed."""

    def __init__(self, trainer=NumpyTrainer, deviation=None, *, checkpoints=False, cell=None):
        self.trainer_class, self.sentence, self.other_cell = trainer, deviation, cell
        self.checkpoints = checkpoints

    def variants(self, cell):
        return ("vectorised",)

    def deviation(self, cell, variant):
        return self.sentence

    def trainer(self, model, optimizer, parameters, execution):
        super().trainer(model, optimizer, parameters, execution)  # refuses what it does not know
        model = replace(model, cell=self.other_cell or model.cell)
        made = self.trainer_class(
            model, optimizer, parameters, replace(execution, checkpoint="off")
        )
        made.execution, made.model = execution, model
        return made


def checks(backend, cell=None, **options):
    return list(checks_for_backend(backend, NumpyBackend(), [cell or LSTM()], **options))


def verdict(backend, name, **options):
    return run_check(
        next(check for check in checks(backend, **options) if check.name.startswith(name))
    )


def test_every_pair_of_values_of_two_axes_meets_in_few_points():
    axes = {**AXES, "dtype": BOTH}
    points = [dict(point.values) for point in cover(BOTH)]
    for (a, values), (b, others) in itertools.combinations(axes.items(), 2):
        assert {(point[a], point[b]) for point in points} == set(
            itertools.product(values, others)
        ), (a, b)
    assert len(points) <= 16
    assert cover(BOTH) == cover(BOTH)
    assert len(product(BOTH)) == 384
    assert len({str(point) for point in product(BOTH)}) == 384


def test_the_grid_holds_what_was_asked_for():
    named = [check.name for check in checks(Fake()) if "_at T=" in check.name]
    assert len(named) == len(cover(BOTH))
    assert len([check for check in checks(Fake(), grid="full") if "_at T=" in check.name]) == 384
    assert not [check for check in checks(Fake(), grid="none") if "_at T=" in check.name]
    assert all(
        "float32" in name
        for name in (c.name for c in checks(Fake(), dtypes=("float32",)))
        if "_at T=" in name
    )


def test_a_masked_batch_takes_the_trainer_of_the_unmasked_one_and_what_was_compiled_for_it():
    alive = weakref.WeakSet()

    class Counted(NumpyTrainer):
        def __init__(self, model, optimizer, parameters, execution):
            super().__init__(model, optimizer, parameters, execution)
            Counted.made += 1
            alive.add(self)

        def train_step(self, batch):
            Counted.steps += 1
            return super().train_step(batch)

    Counted.made = Counted.steps = 0
    narrow = [
        c
        for c in checks(Fake(Counted), grid="full")
        if re.search("_at T=(1|7) .* H=[13] L=1", c.name)
    ]
    assert all(run_check(check).passed for check in narrow)
    assert len(narrow) == Counted.steps == 2 * Counted.made == 64
    gc.collect()
    assert len(alive) <= 4  # of 32: what has met its twin is let go


class WrongInWideLayers(NumpyTrainer):
    def gradients(self, batch):
        found = super().gradients(batch)
        found.parameters["bias_out"] *= 1.01 if self.model.hidden > 100 else 1
        return found


class WrongInTrainingDeepOnes(NumpyTrainer):
    def train_step(self, batch):
        before = self.parameters()["bias_out"]
        result = super().train_step(batch)
        if self.model.layers == 3:
            self._parameters.views["bias_out"][...] = before
        return result


@pytest.mark.parametrize(
    ("trainer", "where", "message"),
    [
        (WrongInWideLayers, "H=128", f"gradient of bias_out: .*{ERROR}"),
        (WrongInTrainingDeepOnes, "L=3", f"gradient of bias_out in train_step: .*{ERROR}"),
    ],
)
def test_an_error_at_one_size_is_found_at_exactly_these_points(trainer, where, message):
    for check in checks(Fake(trainer)):
        if "_at T=" in check.name:
            result = run_check(check)
            assert result.passed == (where not in check.name), check.name
            assert result.passed or re.search(message, result.message), result.message


def test_what_a_variant_does_not_support_is_skipped():
    class Narrow(Fake):
        def why_unsupported(self, model, trial):
            return "narrow layers only" if model.hidden > 100 else None

    for check in checks(Narrow(WrongInWideLayers)):
        result = run_check(check)
        assert result.passed, result
        # What the reference's variant lacks in any case.
        without = ("checkpoint", "linear", "one device")
        assert result.skipped == (
            "H=128" in check.name or any(word in result.message for word in without)
        )


class Compiles(NumpyTrainer):
    """Says that it compiles, and notes the shapes for which it must."""

    def compilations(self):
        return 0

    def gradients(self, batch):
        size = self.model.hidden, self.model.layers, batch.steps
        self.shapes.add((*size, self.execution.dtype))
        return super().gradients(batch)


class WrongWhenCompiled(Compiles):
    """``dtype`` is that of the faulty kernel."""

    dtype = "float64"

    def gradients(self, batch):
        found = super().gradients(batch)
        if self.execution.dtype == self.dtype:
            found.parameters["bias_hh_l0"] *= 1.01
        return found


def test_few_shapes_are_compared_of_a_variant_that_compiles(monkeypatch):
    monkeypatch.setattr(Compiles, "shapes", set(), raising=False)
    results = [run_check(check) for check in checks(Fake(Compiles, checkpoints=True), grid="few")]
    assert all(result.passed for result in results), results
    assert Compiles.shapes == {(4, 2, 7, "float64"), (33, 1, 7, "float32")}
    left_out = {result.name for result in results if FEW_SHAPES in result.message}
    assert not left_out & {function.__name__ for function in CELL_CHECKS}
    assert left_out > {function.__name__ for function in VARIANT_CHECKS}


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("float64", "parameter_gradients_equal_the_reference"),
        ("float64", "parameter_gradients_equal_finite_differences"),
        ("float32", "every_tensor_equals_the_reference_at H=33 float32"),
    ],
)
def test_few_shapes_show_a_wrong_gradient(monkeypatch, dtype, name):
    monkeypatch.setattr(Compiles, "shapes", set(), raising=False)
    monkeypatch.setattr(WrongWhenCompiled, "dtype", dtype)
    result = verdict(Fake(WrongWhenCompiled), name, grid="few")
    assert re.search(f"gradient of bias_hh_l0: .*{ERROR}", result.message), result.message


def test_a_variant_that_compiles_nothing_has_no_few_shapes():
    results = [run_check(check) for check in checks(Fake(), grid="few")]
    assert all(result.passed for result in results), results
    assert not [result for result in results if FEW_SHAPES in result.message]


def test_a_named_cell_is_checked_at_few_shapes_where_these_are_compiled(monkeypatch):
    monkeypatch.setattr(Compiles, "shapes", set(), raising=False)
    check_with(monkeypatch, Fake(Compiles))
    said = "numpy:vectorised: compiled, so only the checks of the cell ran, at two shapes."
    assert said in typed("-c", "rnn").output
    assert said not in typed("-c", "rnn", "--grid", "none").output


BPTT = "checkpointed_bptt_equals_plain_bptt"
REPEATED = "dropout_is_repeated_when_a_chunk_is_run_again"


class CutsTheGradient(NumpyTrainer):
    """The gradient does not cross from one chunk to the one before."""

    def gradients(self, batch):
        found = super().gradients(batch)
        if self.execution.checkpoint != "off":
            found.hidden[:, 0] *= 0.5
        return found


class ForgetsTheRest(NumpyTrainer):
    """The time steps after the last whole chunk are left out."""

    def outputs(self, batch):
        found = super().outputs(batch)
        chunk = self.execution.chunk(batch.steps)
        if chunk:
            found[batch.steps - batch.steps % chunk :] = 0
        return found


class ForgetsItsState(NumpyTrainer):
    def train_step(self, batch):
        result = super().train_step(batch)
        if self.execution.checkpoint != "off":
            self.load_state(None)
        return result


class TrainsWithoutTheBias(NumpyTrainer):
    def train_step(self, batch):
        before = self.parameters()["bias_out"]
        result = super().train_step(batch)
        if self.execution.checkpoint != "off":
            self._parameters.views["bias_out"][...] = before
        return result


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        (CutsTheGradient, f"hidden gradient: .*{ERROR}.*checkpoint 3"),
        (ForgetsTheRest, f"outputs: .*{ERROR}.*checkpoint 3, T=7"),
        (ForgetsItsState, "state: expected the carried state, got None"),
        (TrainsWithoutTheBias, f"gradient of bias_out in train_step: .*{ERROR}"),
    ],
)
def test_wrong_checkpoints_fail(trainer, message):
    result = verdict(Fake(trainer, checkpoints=True), BPTT)
    assert not result.passed
    assert re.search(message, result.message), result.message


@pytest.mark.parametrize("name", [BPTT, REPEATED])
def test_right_checkpoints_pass_and_a_backend_without_them_is_not_asked(name):
    assert verdict(Fake(checkpoints=True), name).passed
    assert not verdict(Fake(checkpoints=True), name).skipped
    assert verdict(Fake(CutsTheGradient), name).skipped


class DrawsAnew(NumpyTrainer):
    """The loss is that of one draw of dropout masks, the gradient that of the next."""

    def train_step(self, batch):
        before = self.parameters()
        first = super().train_step(batch)
        self.load(before)
        return replace(super().train_step(batch), loss=first.loss)


def test_masks_that_are_drawn_anew_when_a_chunk_is_run_again_fail():
    result = verdict(Fake(DrawsAnew, checkpoints=True), REPEATED)
    assert not result.passed
    assert re.search(f"gradient of weight_ih_l0 along a direction: .*{ERROR}", result.message), (
        result.message
    )


class Halved(LSTM):
    """Another function: half of the LSTM's new h."""

    def step(self, *arguments):
        h, c = super().step(*arguments)
        return 0.5 * h, c


DIFFERS = "it_differs_from_the_equations_as_it_says"


def test_a_deviating_variant_is_held_against_itself():
    backend = Fake(deviation="h is halved", cell=Halved(), checkpoints=True)
    names = [check.name for check in checks(backend)]
    assert DIFFERS in names
    assert "loss_and_outputs_follow_the_equations" not in names
    assert all(result.passed for result in map(run_check, checks(backend))), backend
    assert not verdict(Fake(cell=Halved()), "loss_and_outputs_follow_the_equations").passed


def test_a_deviation_that_is_none_fails():
    result = verdict(Fake(deviation="h is halved"), DIFFERS)
    assert not result.passed
    assert "computes the cell's own function" in result.message


@pytest.mark.parametrize("answer", [" ", 7])
def test_an_unknown_deviation_of_a_variant_fails_and_its_other_variants_are_checked(answer):
    class Unsure(Fake):
        def variants(self, cell):
            return ("vectorised", "loop")

        def deviation(self, cell, variant):
            return answer if variant == "loop" else None

    unsure = Unsure()
    made, plain = checks(unsure), checks(Fake())
    (check,) = [check for check in made if check.variant == "loop"]
    unsure.deviation = lambda cell, variant: None  # too late
    result = run_check(check)
    assert (result.name, result.passed) == ("it_says_whether_it_deviates", False)
    assert result.message.startswith(f"backend 'numpy' is broken: deviation() returned {answer!r}")
    assert [one.label for one in made if one.variant != "loop"] == [one.label for one in plain]


def test_where_nobody_knows_it_of_one_cell_the_variant_is_checked_on_the_next():
    class Unsure(Fake):
        def deviation(self, cell, variant):
            return None if cell.name == "rnn" else 7

    first, both = (
        list(checks_for_backend(Unsure(), NumpyBackend(), cells))
        for cells in ([RNN()], [LSTM(), RNN()])
    )
    assert [one.label for one in both if one.cell == "rnn"] == [
        one.label for one in first if one.cell
    ]


class WrongBias(NumpyTrainer):
    def gradients(self, batch):
        found = super().gradients(batch)
        found.parameters["bias_hh_l0"] *= 1.001
        return found


@pytest.mark.parametrize(
    "name", ["one_step_follows_the_gradient", "parameter_gradients_equal_finite_differences"]
)
def test_a_deviating_variant_must_agree_with_itself(name):
    result = verdict(Fake(WrongBias, deviation="h is halved", cell=Halved()), name)
    assert not result.passed
    assert re.search(f"bias_hh_l0.*{ERROR}", result.message), result.message


class Declares(NumpyBackend):
    def __init__(self, **answers):
        for name, answer in answers.items():
            fixed = name in {"groups", "checkpoints"}
            setattr(self, name, answer if fixed else lambda *_, answer=answer: answer)


SANE = "it_declares_itself_sanely"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"default_variant": "fast"}, "default_variant of lstm: 'fast' is not one of"),
        ({"fastest_variant": "fast"}, "fastest_variant of lstm: 'fast' is not one of"),
        (
            {"missing_variants": {"vectorised": Missing("a", "b")}, "variants": ("vectorised",)},
            "offered and missing",
        ),
        ({"missing_variants": {"native": "no"}}, "missing variant native: expected Missing"),
        (
            {"missing_variants": {"native": Missing("a", "")}},
            "missing variant native: Missing must say the fix",
        ),
        ({"variants": ()}, "variants: none for any of the cells lstm"),
        ({"all_variants": ("loop",)}, "all_variants: expected ['native', 'numba', 'vectorised']"),
        ({"groups": ("a b",)}, "group"),
        ({"checkpoints": "auto"}, "checkpoints: expected a bool"),
        ({"dtypes": ("float16",)}, "dtypes: unknown names"),
        ({"dtypes": ()}, "dtype on cpu: expected at least one"),
    ],
)
def test_an_insane_declaration_fails(answers, message):
    result = verdict(Declares(**answers), SANE)
    assert not result.passed
    assert message in result.message


def test_a_backend_may_leave_out_some_cells():
    class LstmOnly(NumpyBackend):
        def variants(self, cell):
            return super().variants(cell) if cell.name == "lstm" else ()

    every = list(checks_for_backend(LstmOnly(), NumpyBackend(), [RNN(), LSTM()], grid="none"))
    assert run_check(every[0]).passed
    assert {check.cell for check in every} == {"", "lstm"}


@pytest.mark.parametrize("cell", [MinGRU(), MinLSTM()], ids=lambda cell: cell.name)
def test_the_minimal_cells_pass(cell):
    results = [run_check(check) for check in checks_for_cell(cell)]
    assert all(result.passed and not result.skipped for result in results), results


class Logistic(Cell):
    """A driven logistic map: over 64 steps it magnifies a rounding error ten thousand times."""

    name, gates, products = "logistic", ("h",), ()

    def step(self, ops, zx, state, own):
        return (1.0 - 1.2 * state.h * state.h + 0.3 * ops.tanh(zx),)


def test_a_cell_that_magnifies_rounding_may_differ_by_that_in_float32():
    bench = Bench(NumpyBackend(), NumpyBackend(), Logistic(), "loop")
    float32_is_computed_in_float32(bench)


class Fast(Fake):
    name = "fast"

    def variants(self, cell):
        return ("plain", "wide") if cell.name == "lstm" else ("plain",)

    def missing_variants(self):
        return {"native": Missing("no compiler was found", "pip install compiler")}


class Narrow(Fast):
    name = "narrow"

    def variants(self, cell):
        return ("plain",) if cell.name == "lstm" else ()


def check_with(monkeypatch, *backends):
    """Let ``harness check`` load these backends only, run few checks and set no threads here."""
    monkeypatch.setattr(suite, "CELL_CHECKS", CELL_CHECKS[:3])
    monkeypatch.setattr(suite, "VARIANT_CHECKS", VARIANT_CHECKS[:1])
    loaded = replace(load_plugins(("torch", "jax")), backends={one.name: one for one in backends})
    monkeypatch.setattr(check_verb, "load_plugins", lambda blocked: loaded)
    monkeypatch.setattr(check_verb, "_bound_threads", lambda plugins: {})


def typed(*arguments):
    return CliRunner().invoke(cli, ["check", *arguments], standalone_mode=False)


@pytest.fixture
def asked(monkeypatch):
    """Run ``harness check`` with fakes; return the checked variants and cells, and its result."""
    check_with(monkeypatch, NumpyBackend(), Fast(), Narrow())
    seen = set()

    def look(wanted, checks, console, *, verbose):
        seen.update((check.variant, check.cell) for check in checks if check.cell)
        ran = [
            SimpleNamespace(passed=True, skipped=False, variant=check.variant, cell=check.cell)
            for check in checks
        ]
        return ran, set()

    monkeypatch.setattr(check_verb, "_check", look)

    def ask(*arguments):
        return seen, typed(*arguments)

    return ask


class Flipped(RNN):
    name = "flipped"

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        d_z = -d_new_state[0] * (1.0 - new_state[0] * new_state[0])
        return d_z, d_z, (0.0 * d_z,)


class Branching(RNN):
    name = "branching"

    def step(self, ops, zx, state, own):
        z = zx + ops.product("hh", state.h)
        return (z if z > 0 else -z,)


def test_each_cell_is_checked_by_itself_and_one_without_a_trace_on_no_engine(asked, monkeypatch):
    loaded = check_verb.load_plugins(())
    cells = {cell.name: cell for cell in (RNN(), Flipped(), Branching())}
    monkeypatch.setattr(check_verb, "load_plugins", lambda blocked: replace(loaded, cells=cells))
    seen, result = asked("-b", "numpy", "--grid", "none")
    assert result.return_value == NOT_OK
    fault = "the_gradient_equals_finite_differences: flipped: d_zx of step_gradient is not the"
    assert f"FAIL flipped {fault}" in result.output
    assert result.output.count("cell 'branching': a comparison cannot be traced") == 1
    assert "cells  2 of 10 checks failed" in result.output
    assert {cell for _, cell in seen} == {"rnn", "flipped"}


def test_check_is_narrowed_to_cells_and_variants(asked):
    seen, _ = asked("-b", "fast", "-c", "lstm,gru", "--variant", "wide")
    assert seen == {("wide", "lstm")}


def test_check_understands_a_backend_with_its_variant(asked):
    seen, _ = asked("-b", "fast:plain", "-c", "gru")
    assert seen == {("plain", "gru")}


def test_a_variant_of_one_backend_narrows_no_other(asked):
    seen, _ = asked("-b", "fast:wide,numpy", "-c", "lstm")
    assert {variant for variant, _ in seen} == {"wide", *NumpyBackend().variants(LSTM())}
    seen.clear()
    asked("-b", "fast,fast:wide", "-c", "lstm")
    assert {variant for variant, _ in seen} == {"wide", "plain"}


def test_all_variants_can_be_asked_for_by_that_word(asked):
    seen, _ = asked("-b", "fast:plain", "-c", "lstm", "--variant", "all")
    assert {variant for variant, _ in seen} == {"wide", "plain"}


def test_a_backend_without_the_cell_or_variant_is_skipped_with_the_reason(asked):
    seen, result = asked("-b", "fast,numpy", "-c", "gru", "--variant", "vectorised")
    assert {variant for variant, _ in seen} == {"vectorised"}
    assert "skipped fast: it runs gru as none of vectorised" in result.output
    seen, result = asked("-b", "narrow", "-c", "gru")
    assert "skipped narrow: it runs none of the cells gru" in result.output
    assert "nothing was checked" in str(result.exception)


def test_a_variant_of_other_cells_is_no_unknown_one(asked):
    seen, result = asked("-b", "fast", "-c", "gru", "--variant", "wide")
    assert not seen
    assert "skipped fast: it runs gru as none of wide" in result.output
    assert "nothing was checked" in str(result.exception)


class Losing(NumpyBackend):
    """``native`` turns out to be missing when it is first used."""

    lost = False

    def variants(self, cell):
        return ("vectorised",) if self.lost else ("vectorised", "native")

    def missing_variants(self):
        return {"native": Missing("it cannot be built", "mend the compiler")} if self.lost else {}

    def trainer(self, model, optimizer, parameters, execution):
        self.lost = self.lost or execution.variant == "native"
        return super().trainer(model, optimizer, parameters, execution)


class Other(NumpyBackend):
    """Needs no compiler for what it calls ``native``."""

    name = "other"

    def variants(self, cell):
        return ("vectorised", "native")

    def missing_variants(self):
        return {}

    def trainer(self, model, optimizer, parameters, execution):
        known = {"native": "vectorised"}.get(execution.variant, execution.variant)
        return super().trainer(model, optimizer, parameters, replace(execution, variant=known))


@pytest.mark.parametrize(
    ("named", "status"),
    [
        ("numpy", 0),
        ("numpy:native", None),
        ("numpy:native,numpy", None),
        ("numpy:native,other", None),
    ],
)
def test_a_variant_that_turns_out_to_be_missing_is_told_each_time_and_costs_no_other(
    monkeypatch, named, status
):
    check_with(monkeypatch, Losing(), Other())
    for _ in range(2):
        result = typed("-b", named, "-c", "rnn", "--grid", "none")
        assert result.return_value == status
        everything = f"{result.output}{result.exception or ''}"
        assert (
            everything.count(
                "numpy:native cannot run here: it cannot be built. Fix: mend the compiler"
            )
            == 1
        )
        assert ("skipped numpy:native" in everything) is (named == "numpy")
        assert "FAIL" not in everything
        of_engines = everything.partition("cells  4 checks ok")[2]
        assert (" ok" in of_engines) is (named != "numpy:native")


def test_a_variant_that_all_backends_lost_is_an_error_each_time(monkeypatch):
    check_with(monkeypatch, Losing())
    for _ in range(2):
        result = typed("--variant", "native,vectorised", "-c", "rnn", "--grid", "none")
        assert str(result.exception).startswith(
            "nothing was checked as native: numpy:native cannot run here: "
        )
        assert (
            "skipped numpy:native cannot run here: it cannot be built. Fix: mend the compiler"
            in result.output
        )
        assert re.search(r"numpy  \d+ checks ok", result.output)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("asked", "words"),
    [((), "nothing was checked: "), (("-c", "lstm"), "nothing was checked of the cell lstm: ")],
)
def test_where_the_only_variant_was_lost_that_is_the_reason_that_nothing_ran(
    monkeypatch, asked, words, large
):
    class Only(Losing):
        name = "only"

        def variants(self, cell):
            return () if self.lost or cell.matrix_states else ("native",)

        def why_unsupported(self, model, trial):
            return "too large" if large and trial.length == 7 else None

        def trainer(self, model, optimizer, parameters, execution):
            self.lost = True
            raise UnavailableError("the compiler fails")

    check_with(monkeypatch, NumpyBackend(), Only())
    result = typed("-b", "only", *asked, "--grid", "cover" if large else "none")
    assert (
        str(result.exception)
        == f"{words}only:native cannot run here: it cannot be built. Fix: mend the compiler"
    )


def test_a_variant_that_was_named_and_has_none_of_the_cells_is_an_error_beside_others(asked):
    seen, result = asked("-b", "fast:wide,fast:plain", "-c", "gru")
    assert seen == {("plain", "gru")}
    assert str(result.exception) == "nothing was checked of fast:wide: it runs none of gru"


class LosingMidway(Losing):
    """``native`` runs ``rnn``, and turns out to be missing at ``gru``."""

    name = "losing"

    def trainer(self, model, optimizer, parameters, execution):
        self.lost = self.lost or (execution.variant == "native" and model.cell.name == "gru")
        return NumpyBackend.trainer(self, model, optimizer, parameters, execution)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("-b", "losing:native"), ""),
        (("-b", "losing", "--variant", "native,vectorised"), "not all was checked as native: "),
    ],
)
def test_a_named_variant_that_is_lost_after_it_has_run_is_an_error(monkeypatch, asked, words):
    check_with(monkeypatch, LosingMidway(), NumpyBackend())
    result = typed(*asked, "-c", "rnn,gru", "--grid", "none")
    assert str(result.exception).startswith(
        f"{words}losing:native cannot run here: it cannot be built. Fix: "
    )
    assert re.search(r"losing  \d+ checks ok", result.output)


def test_all_that_was_named_and_lost_is_told(asked, monkeypatch):
    check_with(monkeypatch, NumpyBackend(), Fast(), Narrow())
    _, result = asked("-b", "fast:native,narrow:native")
    assert str(result.exception).startswith("2 problems:\n")
    for name in ("fast", "narrow"):
        assert f"  - {name}:native cannot run here: no compiler was found. Fix:" in str(
            result.exception
        )


def test_a_failed_check_counts_for_more_than_what_did_not_run(asked, monkeypatch):
    failed = SimpleNamespace(passed=False, skipped=False, variant="plain", cell="lstm")
    monkeypatch.setattr(check_verb, "_check", lambda *_, verbose: ([failed], set()))
    _, result = asked("-b", "fast:plain,narrow:native")
    assert result.return_value == 3
    assert "note: narrow:native cannot run here: no compiler was found" in result.stderr


def test_checks_that_do_not_apply_are_told_apart_and_are_none_that_ran(monkeypatch):
    def not_applicable():
        raise NotApplicable("too large")

    checks = [Check("one", not_applicable, variant="loop")] * 2
    check_with(monkeypatch, NumpyBackend())
    monkeypatch.setattr(check_verb, "_checks", lambda *_: checks)
    result = typed("-b", "numpy:loop", "-c", "rnn")
    assert (
        str(result.exception)
        == f"nothing was checked of numpy:loop: all checks of numpy:loop {TOO_LARGE}"
    )
    monkeypatch.setattr(
        check_verb, "_checks", lambda *_: [*checks, Check("two", lambda: None, variant="loop")]
    )
    assert "numpy  1 check ok, 2 n/a" in typed("-b", "numpy:loop").stdout
    monkeypatch.setattr(
        check_verb, "_checks", lambda *_: [*checks, Check("two", lambda: 1 / 0, variant="loop")]
    )
    assert "numpy  1 of 1 check failed, 2 n/a" in typed("-b", "numpy:loop").stdout


def answering(question, answer):
    """Return ``fast``, which gives this answer, or raises it."""

    def wrong(*_):
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return type("Broken", (Fast,), {question: wrong})()


@pytest.mark.parametrize("named", [(), ("-b", "numpy,fast,other")])
@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("variants", KeyError("no answer")),
        ("variants", SystemExit(5)),
        ("variants", ["plain", 1]),
        ("missing_variants", KeyError("no answer")),
        ("missing_variants", {"native": "none"}),
        ("missing_variants", {1: Missing("it is odd", "name it")}),
        ("devices", ()),
        ("dtypes", KeyError("no answer")),
        ("dtypes", None),
    ],
)
def test_a_backend_that_answers_wrongly_fails_and_costs_no_other_its_checks(
    monkeypatch, named, question, answer
):
    check_with(monkeypatch, NumpyBackend(), answering(question, answer), Other())
    result = typed(*named, "-c", "rnn", "--variant", "vectorised,plain", "--grid", "none")
    assert result.return_value == 3
    assert result.output.count(f"FAIL backend 'fast' from unknown: broken: {question}() r") == 1
    for name in ("numpy", "other"):
        assert re.search(rf"{name}  \d+ checks ok", result.output)


def test_other_reasons_are_counted(monkeypatch):
    class Picky(Fake):
        name = "picky"

        def why_unsupported(self, model, trial):
            return "too long" if trial.length > 7 else "too short"

    check_with(monkeypatch, NumpyBackend(), Picky())
    monkeypatch.setattr(suite, "CELL_CHECKS", CELL_CHECKS)
    result = typed("-b", "picky", "-c", "lstm", "--grid", "none")
    assert re.search(
        r"all checks of picky on lstm are n/a: too short \(and \d other reasons\)$",
        str(result.exception),
    )


def test_an_empty_reason_is_no_reason_to_leave_checks_out(monkeypatch):
    mute = type("Mute", (NumpyBackend,), {"name": "mute", "why_unsupported": lambda *_: ""})()
    check_with(monkeypatch, NumpyBackend(), mute)
    result = typed("-b", "mute", "-c", "rnn", "--variant", "vectorised", "--grid", "none")
    assert result.return_value == 3
    assert "backend 'mute' is broken: why_unsupported() returned ''" in result.output
    assert " ok" not in result.output.partition("cells  4 checks ok")[2]


@pytest.mark.parametrize("asked", [(), ("--variant", "plain"), ("-c", "lstm")])
def test_where_a_backend_is_broken_nobody_says_what_none_would_have_run(monkeypatch, asked):
    check_with(monkeypatch, NumpyBackend(), answering("variants", KeyError("no answer")))
    result = typed("-b", "fast", *asked)
    assert result.return_value == 3
    *_, last = result.output.splitlines()
    assert last.startswith("FAIL backend 'fast' from unknown: broken: variants() raised KeyError")
    assert "note: " not in result.output


def test_a_backend_whose_missing_variants_fail_midway_fails_and_costs_no_other_its_checks(
    monkeypatch,
):
    class Forgetful(Losing):
        name = "forgetful"

        def missing_variants(self):
            return 1 / 0 if self.lost else {}

    check_with(monkeypatch, Forgetful(), NumpyBackend())
    result = typed("-c", "rnn", "--grid", "none")
    assert result.return_value == 3
    assert (
        "FAIL backend 'forgetful' from unknown: broken: missing_variants() raised ZeroDivisionError"
        in result.output
    )
    assert re.search(r"numpy  \d+ checks ok", result.output)


@pytest.mark.parametrize(("named", "status"), [("fast,numpy", 3), ("numpy", 0)])
def test_a_backend_that_cannot_bound_its_threads_fails_where_it_was_asked_for(
    monkeypatch, named, status
):
    bound_threads = check_verb._bound_threads
    check_with(monkeypatch, NumpyBackend(), answering("environment", KeyError("no answer")))
    monkeypatch.setattr(check_verb, "_bound_threads", bound_threads)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    result = typed("-b", named, "-c", "rnn", "--variant", "all", "--grid", "none")
    assert result.return_value == status
    assert ("FAIL backend 'fast' from unknown: broken: environment() raised" in result.output) is (
        status == 3
    )
    assert re.search(r"numpy  \d+ checks ok", result.output)


def test_without_the_reference_nothing_is_checked(monkeypatch):
    check_with(monkeypatch, Fast())
    result = typed("-b", "fast")
    assert str(result.exception).startswith("unknown backend 'numpy'")
    assert not result.output


def test_a_backend_that_runs_no_cell_at_all_fails_and_nothing_else_is_said(monkeypatch):
    check_with(monkeypatch, NumpyBackend(), type("Idle", (Fast,), {"variants": lambda *_: ()})())
    result = typed("-b", "fast", "--grid", "none")
    assert result.return_value == 3
    assert "note: " not in result.output


def test_a_backend_that_fails_for_a_cell_that_nobody_asked_for_is_checked(monkeypatch):
    class Particular(NumpyBackend):
        def variants(self, cell):
            return {"rnn": ("vectorised",)}[cell.name]

    check_with(monkeypatch, Particular())
    assert typed("-c", "rnn", "--grid", "none").return_value == 0


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            ("-b", "refusing:vectorised"),
            "nothing was checked of refusing:vectorised: all checks of refusing:vectorised "
            + TOO_LARGE,
        ),
        (
            ("--variant", "vectorised"),
            f"nothing was checked as vectorised: all checks of refusing:vectorised {TOO_LARGE}",
        ),
        (
            ("-c", "lstm"),
            f"nothing was checked of the cell lstm: all checks of refusing on lstm {TOO_LARGE}",
        ),
        (
            ("-c", "gru", "--variant", "vectorised"),
            "nothing was checked as vectorised: no backend asked for runs it so",
        ),
        ((), f"nothing was checked: all checks of refusing {TOO_LARGE}"),
    ],
)
def test_what_a_backend_supports_nowhere_is_none_that_ran(monkeypatch, asked, message):
    class Refusing(Fake):
        name = "refusing"

        def variants(self, cell):
            return super().variants(cell) if cell.name == "lstm" else ()

        def why_unsupported(self, model, trial):
            return "too large"

    check_with(monkeypatch, NumpyBackend(), Refusing())
    asked = asked if "-b" in asked else ("-b", "refusing", *asked)
    told = str(typed(*asked, "--grid", "none").exception)
    assert re.fullmatch(re.escape(message) + r"( \(and \d other reasons\))?", told)


def test_a_cell_that_was_named_and_runs_nowhere_is_an_error(asked):
    seen, result = asked("-b", "narrow", "-c", "lstm,gru")
    assert seen == {("plain", "lstm")}
    assert str(result.exception).startswith("nothing was checked of the cell gru: ")
    # Of the cells that nobody named it may run what it can.
    assert asked("-b", "narrow")[1].return_value == 0


def test_what_was_asked_for_twice_is_told_once(asked):
    _, result = asked("-b", "fast:native", "--variant", "native")
    assert str(result.exception).startswith("fast:native cannot run here: no compiler was found")


@pytest.mark.parametrize("lost", [False, True])
def test_a_variant_that_one_backend_lost_is_checked_of_the_others(monkeypatch, lost):
    losing = Losing()
    losing.lost = lost
    check_with(monkeypatch, losing, Other())
    result = typed("--variant", "native", "-b", "numpy,other", "-c", "rnn", "--grid", "none")
    assert result.return_value == 0
    assert (
        "skipped numpy:native cannot run here: it cannot be built. Fix: mend the compiler"
        in result.output
    )
    assert re.search(r"other  \d+ checks ok", result.output)


@pytest.mark.parametrize(("seconds", "told"), [(60.0, False), (-1.0, True)])
def test_a_long_check_tells_where_it_is_where_there_is_no_terminal(monkeypatch, seconds, told):
    monkeypatch.setattr(check_verb, "PROGRESS_SECONDS", seconds)
    check_with(monkeypatch, NumpyBackend())
    monkeypatch.setattr(
        check_verb, "_checks", lambda *_: [Check("one", lambda: None, variant="loop")] * 2
    )
    result = typed("-b", "numpy")
    assert ("note: numpy [2/2] loop" in result.stderr) is told
    assert "2 checks ok" in result.stdout


def test_what_a_plugin_prints_while_it_is_checked_stays_off_stdout(monkeypatch):
    check_with(monkeypatch, NumpyBackend())
    monkeypatch.setattr(
        check_verb, "_checks", lambda *_: [Check("one", lambda: print("hello"), variant="loop")]
    )
    result = typed("-b", "numpy", "-v")
    assert result.stderr == "hello\n"
    assert re.search(r"\nok   numpy:loop one\nnumpy  1 check ok  0 s\n$", result.stdout)


class Panic(BaseException):
    """As pyo3 raises for a panic of Rust: no ``Exception``."""

    def __str__(self):
        raise ValueError("no words")


def test_an_error_of_any_kind_fails_the_check_alone(monkeypatch):
    def failing(error):
        def fail():
            raise error

        return Check("one", fail, variant="loop")

    check_with(monkeypatch, NumpyBackend())
    errors = (Panic(), AssertionError(Panic()), AssertionError())
    monkeypatch.setattr(check_verb, "_checks", lambda *_: [failing(error) for error in errors])
    result = typed("-b", "numpy")
    assert result.return_value == 3
    for word in ("Panic", "AssertionError"):
        assert f"FAIL numpy:loop one: {word}\n" in result.stdout
    assert "3 of 3 checks failed" in result.stdout


def test_an_interrupted_check_says_how_far_it_was(monkeypatch):
    def stopped():
        raise KeyboardInterrupt

    checks = [Check("one", lambda: None), Check("two", stopped), Check("three", lambda: None)]
    check_with(monkeypatch, NumpyBackend())
    monkeypatch.setattr(check_verb, "_checks", lambda *_: checks)
    result = typed("-b", "numpy")
    assert "numpy  1 of 3 checks ran, 0 failed: interrupted" in result.output
    assert result.exception


def test_check_refuses_a_colon_without_a_variant(asked):
    assert "variant of backend 'fast': ''" in str(asked("-b", "fast:")[1].exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("-b", "fast", "--variant", "wied"),
            "unknown variant of backend 'fast': 'wied'. Did you mean wide",
        ),
        (("-b", "fast:wied"), "unknown variant of backend 'fast': 'wied'. Did you mean wide"),
        (("--variant", "aaa,bbb"), "unknown variant 'aaa'."),
        (
            ("-b", "fast", "--variant", "native,native"),
            "nothing was checked as native: fast:native cannot run here: no",
        ),
        (
            ("-b", "fast:native"),
            "fast:native cannot run here: no compiler was found. Fix: pip install compiler",
        ),
    ],
)
def test_check_refuses_a_variant_that_it_could_not_check(asked, arguments, message):
    seen, result = asked(*arguments)
    assert not seen
    assert message in str(result.exception)


class Mistaken(Parity):
    name = "mistaken"

    def baseline(self):
        return 0.0


def test_tasks_are_checked_by_name_and_without_a_backend(monkeypatch):
    loaded = load_plugins(("torch", "jax"))
    loaded = replace(loaded, tasks={"parity": Parity, "mistaken": Mistaken})
    monkeypatch.setattr(check_verb, "load_plugins", lambda blocked: loaded)
    result = typed("--task", "parity")
    assert (result.return_value, "11 checks ok" in result.output) == (OK, True)
    result = typed("-t", "parity,mistaken")
    assert result.return_value == NOT_OK
    assert re.search(r"FAIL mistaken .*baseline", result.output)
    refused = typed("-t", "parity", "-b", "numpy").exception
    assert "leave the other options out" in str(refused)
