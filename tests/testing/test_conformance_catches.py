"""The kit fails for wrong backends, tasks and cells; its message names the tensor and the error."""

import math
import re
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

import paths
from harness.cells import GRU, LSTM, RNN, MinLSTM
from harness.contract import Batch, Gradients, Missing, Placement, StepResult
from harness.contract.checks import check_dtype
from harness.testing import (
    BackendConformance,
    Check,
    NotApplicable,
    checks_for_backend,
    checks_for_cell,
    checks_for_task,
    run_check,
)
from harness_numpy import NumpyBackend
from harness_numpy.trainer import NumpyTrainer
from harness_tasks import harness_tasks

pytestmark = pytest.mark.slow

ERROR = r"error \d\.\d\de[+-]\d\d"


class Fake(NumpyBackend):
    """NumPy with another trainer, and with ``change`` applied to (model, optimizer, execution)."""

    def __init__(self, trainer=NumpyTrainer, change=lambda *arguments: arguments):
        self.trainer_class, self.change = trainer, change

    def trainer(self, model, optimizer, parameters, execution):
        super().trainer(model, optimizer, parameters, execution)
        model, optimizer, execution = self.change(model, optimizer, execution)
        return self.trainer_class(model, optimizer, parameters, execution)


class WrongBiasGradient(NumpyTrainer):
    def gradients(self, batch):
        found = super().gradients(batch)
        found.parameters["bias_hh_l0"] *= 1.001
        return found


class ForgetSignOfLongSequences(NumpyTrainer):
    """The gradient of the forget gate has the wrong sign for 64 steps and more."""

    def gradients(self, batch):
        gradients = super().gradients(batch)
        if batch.steps >= 64:
            for name, gradient in gradients.parameters.items():
                if name.endswith("_l0"):
                    hidden = len(gradient) // 4
                    gradient[hidden : 2 * hidden] *= -1
        return gradients


class KeepsTheLastOfEachToken(NumpyTrainer):
    """The gradient of the table is that of one position for each token, not their sum."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._network._add_by_token = lambda tokens, rows, out: out.__setitem__(tokens, rows)


class Later:
    def __init__(self, future, field):
        self.future, self.field = future, field

    def __float__(self):
        return float(getattr(self.future.result(), self.field))

    def __bool__(self):
        return bool(float(self))


class ReturnsEarly(NumpyTrainer):
    """Works in a thread; every method except ``synchronize`` waits for it."""

    def __init__(self, *arguments):
        self.pool, self.future = ThreadPoolExecutor(1), None
        super().__init__(*arguments)

    def train_step(self, batch):
        self.future = self.pool.submit(super().train_step, batch)
        return StepResult(
            *(Later(self.future, name) for name in ("loss", "gradient_norm", "clipped"))
        )

    def wait(self):
        if self.future is not None:
            self.future.result()

    def outputs(self, batch):
        self.wait()
        return super().outputs(batch)

    def gradients(self, batch):
        self.wait()
        return super().gradients(batch)

    def parameters(self):
        self.wait()
        return super().parameters()

    def load(self, parameters):
        self.wait()
        super().load(parameters)

    def state(self):
        self.wait()
        return super().state()


class CastsResults(NumpyTrainer):
    """Computes in the other dtype and casts what it gives back."""

    def __init__(self, model, optimizer, parameters, execution):
        self.wanted = execution.dtype
        other = {"float32": "float64", "float64": "float32"}[execution.dtype]
        super().__init__(model, optimizer, parameters, replace(execution, dtype=other))

    def outputs(self, batch):
        return super().outputs(batch).astype(self.wanted)

    def parameters(self):
        return {name: value.astype(self.wanted) for name, value in super().parameters().items()}


class SharesParameters(NumpyTrainer):
    def parameters(self):
        return self._parameters.views


class SharesBatch(NumpyTrainer):
    def put(self, batch):
        return batch

    def gradients(self, batch):
        return super().gradients(super().put(batch))

    def outputs(self, batch):
        return super().outputs(super().put(batch))

    def train_step(self, batch):
        return super().train_step(super().put(batch))


class KeepsCallersParameters(NumpyTrainer):
    def load(self, parameters):
        self.callers = parameters
        super().load(parameters)

    def train_step(self, batch):
        result = super().train_step(batch)
        for name, value in super().parameters().items():
            self.callers[name][...] = value
        return result


class ReturnsReadOnly(NumpyTrainer):
    def outputs(self, batch):
        outputs = super().outputs(batch)
        outputs.flags.writeable = False
        return outputs


class IgnoresMask(NumpyTrainer):
    def put(self, batch):
        return super().put(
            Batch(batch.inputs, batch.targets, np.ones_like(batch.mask), batch.carry)
        )


class IgnoresCarry(NumpyTrainer):
    def put(self, batch):
        return super().put(replace(batch, carry=False))


class AlwaysCarries(NumpyTrainer):
    def put(self, batch):
        return super().put(replace(batch, carry=True))


class TrainingDoesNotCarry(NumpyTrainer):
    def train_step(self, batch):
        before = self.state()
        result = super().train_step(batch)
        self.load_state(before)
        return result


class GradientsCarry(NumpyTrainer):
    def gradients(self, batch):
        super().outputs(batch)
        return super().gradients(batch)


class GradientsUpdate(NumpyTrainer):
    def gradients(self, batch):
        found = super().gradients(batch)
        self.train_step(batch)
        return found


class TrainsOnOtherGradients(NumpyTrainer):
    """A faster path in training than in ``gradients``, and a wrong one."""

    def train_step(self, batch):
        before = self._parameters.views["bias_out"].copy()
        result = super().train_step(batch)
        self._parameters.views["bias_out"][...] = before
        return result


class LoadKeepsMoments(NumpyTrainer):
    def load(self, parameters):
        self._parameters.assign(parameters)


class RestoresNoMoments(NumpyTrainer):
    def restore(self, snapshot):
        super().restore(snapshot)
        self._update.reset()


class SnapshotSharesMoments(NumpyTrainer):
    def snapshot(self):
        return super().snapshot() | {"first": self._update._first}


class RestoresNoMasks(NumpyTrainer):
    def restore(self, snapshot):
        position = self._network.masks.position()
        super().restore(snapshot)
        self._network.masks.rewind(position)


class DirectHiddenGradient(NumpyTrainer):
    """Only the last step's hidden gradient is right: what arrives through time is forgotten."""

    def gradients(self, batch):
        found = super().gradients(batch)
        found.hidden[:, :-1] = 0
        return found


class HiddenAsList(NumpyTrainer):
    def gradients(self, batch):
        found = super().gradients(batch)
        return Gradients(found.loss, found.parameters, found.hidden.tolist())


class BatchFirst(NumpyTrainer):
    def outputs(self, batch):
        return super().outputs(batch).swapaxes(0, 1).copy()


class NormAfterClipping(NumpyTrainer):
    def train_step(self, batch):
        result = super().train_step(batch)
        limit = self._optimizer.clip_norm or np.inf
        return replace(result, gradient_norm=min(result.gradient_norm, limit))


class NeverSaysClipped(NumpyTrainer):
    def train_step(self, batch):
        return replace(super().train_step(batch), clipped=False)


class NoisyLoss(NumpyTrainer):
    noise = np.random.default_rng(0)

    def train_step(self, batch):
        result = super().train_step(batch)
        return replace(result, loss=result.loss * (1 + 1e-6 * self.noise.random()))


class LiesElsewhere(NumpyTrainer):
    def placement(self):
        return Placement("host", str(super().placement().dtype))


class IsAlwaysWide(NumpyTrainer):
    def placement(self):
        return Placement("cpu", "float64")


class DoesNotTell(NumpyTrainer):
    def placement(self):
        return None


class AnyDevice(NumpyBackend):
    def trainer(self, model, optimizer, parameters, execution):
        return NumpyTrainer(
            model, optimizer, parameters, replace(execution, device="cpu", variant="vectorised")
        )


def with_optimizer(**changes):
    return Fake(
        change=lambda model, optimizer, execution: (model, replace(optimizer, **changes), execution)
    )


def without_schedule(model, optimizer, execution):
    return model, replace(optimizer, schedule="constant"), execution


def without_momentum(model, optimizer, execution):
    return model, replace(optimizer, momentum=optimizer.momentum / 2), execution


def without_dropout(model, optimizer, execution):
    return replace(model, dropout=0.0), optimizer, execution


def with_one_dropout_seed(model, optimizer, execution):
    return model, optimizer, replace(execution, dropout_seed=0)


def in_float32(model, optimizer, execution):
    return model, optimizer, replace(execution, dtype="float32")


WRONG = {
    "bias gradient": (
        Fake(WrongBiasGradient),
        "parameter_gradients_equal_the_reference",
        f"bias_hh_l0: .*{ERROR}",
    ),
    "bias gradient, differences": (
        Fake(WrongBiasGradient),
        "parameter_gradients_equal_finite_differences",
        f"bias_hh_l0: .*{ERROR}",
    ),
    "table of tokens": (
        Fake(KeepsTheLastOfEachToken),
        "an_embedding_equals_the_reference",
        f"embedding: .*{ERROR}.*embedding 3",
    ),
    "forget gate of long sequences": (
        Fake(ForgetSignOfLongSequences),
        "parameter_gradients_equal_the_reference",
        f"gradient of weight_ih_l0: .*{ERROR}.*T=64",
    ),
    "forget gate, differences": (
        Fake(ForgetSignOfLongSequences),
        "parameter_gradients_equal_finite_differences",
        f"gradient of weight_ih_l0: .*{ERROR}.*T=64",
    ),
    "returns early": (
        Fake(ReturnsEarly),
        "synchronize_waits_for_the_work",
        r"loss and parameters: not ready .* ms",
    ),
    "float64 in float32": (
        Fake(CastsResults),
        "float64_is_computed_in_float64",
        f"outputs: .*{ERROR}",
    ),
    "float32 in float64": (
        Fake(CastsResults),
        "float32_is_computed_in_float32",
        "outputs: .* computed in float64",
    ),
    "float32 throughout": (
        Fake(change=in_float32),
        "arrays_have_the_shapes_and_dtype_of_the_contract",
        "outputs: expected dtype float64, got float32",
    ),
    "shares its parameters": (
        Fake(SharesParameters),
        "arrays_given_back_are_copies",
        "weight_ih_l0: .* changed",
    ),
    "shares the batch": (
        Fake(SharesBatch),
        "arrays_taken_in_are_copied",
        r"loss: changed by \d.* put\(\)",
    ),
    "alters the caller's parameters": (
        Fake(KeepsCallersParameters),
        "arrays_taken_in_are_copied",
        "weight_ih_l0: changed by training",
    ),
    "read-only outputs": (
        Fake(ReturnsReadOnly),
        "arrays_have_the_shapes_and_dtype_of_the_contract",
        "outputs: not a copy",
    ),
    "ignores the mask": (
        Fake(IgnoresMask),
        "loss_and_outputs_follow_the_equations",
        f"loss: .*{ERROR}",
    ),
    "masked targets count": (
        Fake(IgnoresMask),
        "masked_positions_change_nothing",
        f"loss: .*{ERROR}",
    ),
    "ignores carry": (
        Fake(IgnoresCarry),
        "a_carried_state_continues_the_stream",
        f"loss: .*{ERROR}",
    ),
    "always carries": (
        Fake(AlwaysCarries),
        "a_batch_without_carry_starts_from_zeros",
        f"outputs: .*{ERROR}",
    ),
    "training does not carry": (
        Fake(TrainingDoesNotCarry),
        "training_leaves_the_final_state_carried",
        "state: expected the carried state, got None",
    ),
    "gradients carry": (
        Fake(GradientsCarry),
        "training_leaves_the_final_state_carried",
        f"state h: .*{ERROR} .*after gradients",
    ),
    "gradients update": (
        Fake(GradientsUpdate),
        "only_train_step_and_load_change_parameters",
        "weight_ih_l0: changed by",
    ),
    "trains on other gradients": (
        Fake(TrainsOnOtherGradients),
        "one_step_follows_the_gradient",
        f"bias_out after train_step: .*{ERROR}",
    ),
    "load keeps the moments": (
        Fake(LoadKeepsMoments),
        "load_starts_the_optimizer_afresh",
        f"weight_ih_l0 .*{ERROR}",
    ),
    "restores no moments": (
        Fake(RestoresNoMoments),
        "training_goes_on_from_a_snapshot",
        r"losses: not the same to the last bit after restore \(sgd with momentum\)",
    ),
    "snapshot shares moments": (
        Fake(SnapshotSharesMoments),
        "training_goes_on_from_a_snapshot",
        r"losses: not the same to the last bit after restore \(sgd with momentum\)",
    ),
    "restores no dropout masks": (
        Fake(RestoresNoMasks),
        "a_new_trainer_goes_on_with_dropout_and_carried_state",
        r"losses: not the same to the last bit",
    ),
    "wrong momentum": (
        Fake(change=without_momentum),
        "optimizer_steps_equal_the_update_rules",
        f"weight_ih_l0: .*{ERROR}.*sgd with momentum, after step 2",
    ),
    "wrong epsilon": (
        with_optimizer(epsilon=1e-6),
        "optimizer_steps_equal_the_update_rules",
        f"{ERROR}.*rmsprop",
    ),
    "wrong beta2": (
        with_optimizer(beta2=0.99),
        "optimizer_steps_equal_the_update_rules",
        f"{ERROR}.*adam",
    ),
    "no schedule": (
        Fake(change=without_schedule),
        "schedules_set_the_learning_rate_of_each_step",
        f"weight_ih_l0: .*{ERROR}.*exponential schedule.*after step 3",
    ),
    "no clipping": (
        with_optimizer(clip_norm=None),
        "clipping_acts_before_the_update_and_is_reported",
        "clipped: expected True, got False",
    ),
    "norm after clipping": (
        Fake(NormAfterClipping),
        "clipping_acts_before_the_update_and_is_reported",
        f"gradient_norm: .*{ERROR}",
    ),
    "never says clipped": (
        Fake(NeverSaysClipped),
        "clipping_acts_before_the_update_and_is_reported",
        "clipped: ",
    ),
    "direct hidden gradient": (
        Fake(DirectHiddenGradient),
        "hidden_gradients_equal_finite_differences",
        f"hidden gradient of layer 0 at step 0: .*{ERROR}",
    ),
    "direct hidden gradient, reference": (
        Fake(DirectHiddenGradient),
        "hidden_gradients_equal_the_reference",
        f"hidden gradient: .*{ERROR}",
    ),
    "hidden gradient as a list": (
        Fake(HiddenAsList),
        "arrays_have_the_shapes_and_dtype_of_the_contract",
        "hidden gradient: expected a NumPy array, got list",
    ),
    "batch first": (
        Fake(BatchFirst),
        "arrays_have_the_shapes_and_dtype_of_the_contract",
        r"outputs: expected shape \(7, 5, 3\), got \(5, 7, 3\)",
    ),
    "not repeatable": (
        Fake(NoisyLoss),
        "the_same_trial_twice_gives_the_same_losses",
        f"losses .*{ERROR}",
    ),
    "dropout ignored": (
        Fake(change=without_dropout),
        "dropout_acts_in_training_only",
        "loss: .*dropout",
    ),
    "dropout seed ignored": (
        Fake(change=with_one_dropout_seed),
        "dropout_acts_in_training_only",
        "dropout seeds",
    ),
    "lies elsewhere": (
        Fake(LiesElsewhere),
        "results_lie_where_they_were_asked_for",
        "placement: cpu was asked for, the results lie on host",
    ),
    "is always wide": (
        Fake(IsAlwaysWide),
        "results_lie_where_they_were_asked_for",
        "placement: float32 was asked for, the results are float64",
    ),
    "any device will do": (
        AnyDevice(),
        "unknown_devices_and_variants_are_refused",
        "'no-such-device' was accepted",
    ),
}


def check_named(checks, name):
    return next(check for check in checks if check.name == name)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_backend_fails_with_the_tensor_and_the_error(wrong):
    backend, name, message = WRONG[wrong]
    result = run_check(check_named(checks_for_backend(backend, NumpyBackend(), [LSTM()]), name))
    assert not result.passed
    assert re.search(message, result.message), result.message


@pytest.mark.parametrize(
    "name",
    ["parameter_gradients_equal_the_reference", "parameter_gradients_equal_finite_differences"],
)
def test_an_error_of_long_sequences_hides_from_short_ones(name):
    checks = checks_for_backend(
        Fake(ForgetSignOfLongSequences), NumpyBackend(), [LSTM()], lengths=(1, 7)
    )
    assert run_check(check_named(checks, name)).passed


def test_a_backend_that_does_wait_is_not_accused():
    class Waits(ReturnsEarly):
        def synchronize(self):
            self.wait()

    checks = checks_for_backend(Fake(Waits), NumpyBackend(), [LSTM()])
    result = run_check(check_named(checks, "synchronize_waits_for_the_work"))
    assert result.passed, result.message


FAULTY = paths.FAULTY / "deferring.py"
FAMILY = runpy.run_path(str(FAULTY))
# Paid in the block.
INSIDE = ("owes_loss", "owes_norm", "owes_clipped", "owes_every_other_wait", "owes_the_dead")


@pytest.mark.parametrize("name", [*FAMILY["DEFERRING"], *FAMILY["HONEST"]])
def test_an_engine_that_hides_its_work_from_a_block_is_caught(name, monkeypatch):
    monkeypatch.setitem(FAMILY["Sleeps"].train_step.__globals__, "SECONDS", 0.01)
    fake = Fake((FAMILY["DEFERRING"] | FAMILY["HONEST"])[name])
    checks = checks_for_backend(fake, NumpyBackend(), [LSTM()])
    result = run_check(check_named(checks, "a_block_of_steps_takes_as_long_as_it_says"))
    assert result.passed == (name in (*INSIDE, *FAMILY["HONEST"])), result.message
    assert result.passed or result.message.startswith("speed: ")


class Declares(NumpyBackend):
    def __init__(self, **answers):
        for name, answer in answers.items():
            setattr(self, name, lambda *_, answer=answer: answer)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"availability": None}, "availability: expected Available or Missing, got None"),
        ({"availability": Missing("no library", "")}, "availability: Missing must say the fix"),
        ({"versions": {}}, "versions: expected at least one library"),
        ({"devices": ()}, "device: expected at least one"),
        ({"variants": ("loop", "loop")}, "variant of lstm: named twice"),
        ({"variants": ["loop"]}, "variant of lstm: expected a tuple, got list"),
        (
            {"variants": ("a b",), "all_variants": None},
            "variant of lstm: names .'a b'. are not allowed",
        ),
    ],
)
def test_an_insane_declaration_fails(answers, message):
    check = next(checks_for_backend(Declares(**answers), NumpyBackend(), [LSTM()]))
    result = run_check(check)
    assert not result.passed
    assert re.search(message, result.message)


def test_a_plugin_that_ends_the_process_fails_its_check():
    result = run_check(Check("one", lambda: sys.exit(5)))
    assert (result.passed, result.message) == (False, "SystemExit: 5")


def test_a_missing_library_leaves_the_declaration_to_check():
    backend = Declares(availability=Missing("no library", "install it"))
    assert [check.name for check in checks_for_backend(backend, NumpyBackend())] == [
        "it_declares_itself_sanely"
    ]


def test_an_exception_of_the_plugin_is_a_failure_with_its_type():
    class Explodes(NumpyTrainer):
        def outputs(self, batch):
            raise ZeroDivisionError("inside the plugin")

    checks = checks_for_backend(Fake(Explodes), NumpyBackend(), [LSTM()])
    result = run_check(check_named(checks, "loss_and_outputs_follow_the_equations"))
    assert (result.passed, result.message) == (False, "ZeroDivisionError: inside the plugin")


def test_a_backend_that_does_not_tell_its_device_is_skipped_with_what_that_means():
    checks = checks_for_backend(Fake(DoesNotTell), NumpyBackend(), [LSTM()])
    result = run_check(check_named(checks, "results_lie_where_they_were_asked_for"))
    assert result.skipped
    assert "every trial is flagged" in result.message


class OfSeveral(Fake):
    data_parallel = True


class HeavierShares(NumpyTrainer):
    """Its loss is the mean of two shares' means, whatever counts in each."""

    def __init__(self, model, optimizer, parameters, execution):
        super().__init__(model, optimizer, parameters, execution)
        self.devices = execution.devices

    def train_step(self, batch):
        result = super().train_step(batch)
        return replace(result, loss=float(result.loss) * (1.001 if self.devices > 1 else 1.0))

    def placement(self):
        return replace(super().placement(), devices=self.devices)


def test_a_backend_that_weighs_the_shares_of_several_devices_wrongly_is_caught():
    checks = list(checks_for_backend(OfSeveral(HeavierShares), NumpyBackend(), [LSTM()]))
    wrong, told = (
        run_check(check_named(checks, name))
        for name in ("several_devices_train_as_one", "it_says_over_how_many_devices_it_trained")
    )
    assert not wrong.passed
    assert re.match(r"loss: relative error 1\.00e-03 exceeds .*2 devices", wrong.message)
    assert told.passed


def test_a_backend_that_trains_on_one_device_where_two_were_asked_for_is_caught():
    checks = checks_for_backend(OfSeveral(NumpyTrainer), NumpyBackend(), [LSTM()])
    result = run_check(check_named(checks, "it_says_over_how_many_devices_it_trained"))
    assert (result.passed, result.message) == (
        False,
        "placement: devices asked for and reported: {1: 1, 2: 1}",
    )


def test_what_a_backend_does_not_support_is_skipped_with_its_reason():
    class SingleOnly(NumpyBackend):
        def why_unsupported(self, model, trial):
            return "float32 only" if trial.dtype == "float64" else None

    results = [
        run_check(check) for check in checks_for_backend(SingleOnly(), NumpyBackend(), [GRU()])
    ]
    assert all(result.passed for result in results)
    shapes = [result for result in results if "_at T=" in result.name]
    assert all(result.skipped == ("float64" in result.name) for result in shapes)
    results = [result for result in results if result not in shapes]
    assert {result.name for result in results if result.skipped} == {
        "several_devices_train_as_one",
        "it_says_over_how_many_devices_it_trained",
        "parameter_gradients_equal_finite_differences",
        "hidden_gradients_equal_finite_differences",
        "float64_is_computed_in_float64",
        "dropout_is_repeated_when_a_chunk_is_run_again",
    }


class Verdict(BackendConformance):
    __test__ = False
    exceptions = {"loop-*-known": "the library has no such thing"}  # noqa: RUF012


def failing():
    raise AssertionError("weight: error")


def not_applicable():
    raise NotApplicable("no float64")


@pytest.mark.parametrize(
    ("check", "outcome", "message"),
    [
        (
            Check("new", failing, "loop", "lstm"),
            pytest.fail.Exception,
            "loop-lstm-new: weight: error",
        ),
        (
            Check("known", failing, "loop", "lstm"),
            pytest.xfail.Exception,
            "the library has no such thing: weight",
        ),
        (
            Check("known", lambda: None, "loop", "lstm"),
            pytest.fail.Exception,
            "is no longer needed",
        ),
        (Check("new", not_applicable, "loop", "lstm"), pytest.skip.Exception, "no float64"),
    ],
)
def test_named_exceptions_are_expected_failures_and_no_more(check, outcome, message):
    with pytest.raises(outcome, match=message):
        Verdict().test_conforms(check)


class Flipped(RNN):
    """A gradient stated by hand, with the wrong sign."""

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        d_z = -d_new_state[0] * (1.0 - new_state[0] * new_state[0])
        return d_z, d_z, (0.0,)


class CallsNumpy(GRU):
    def step(self, ops, zx, state, own):
        return (np.tanh(zx + ops.product("hh", state.h)),)


class Branches(GRU):
    def step(self, ops, zx, state, own):
        h = super().step(ops, zx, state, own)[0]
        return (h if h > 0 else 0.0 * h,)


class Promotes(GRU):
    def step(self, ops, zx, state, own):
        one = np.ones(1) if isinstance(zx, np.ndarray) else 1.0
        return (super().step(ops, zx, state, own)[0] * one,)


class AnotherOnArrays(GRU):
    def step(self, ops, zx, state, own):
        factor = 1.001 if isinstance(zx, np.ndarray) else 1.0
        return (super().step(ops, zx, state, own)[0] * factor,)


class MixesSequences(GRU):
    def step(self, ops, zx, state, own):
        h = super().step(ops, zx, state, own)[0]
        return (h - h.mean(axis=0) if isinstance(h, np.ndarray) else h,)


class NoSuchGate(GRU):
    memory_gate = "f"


class NoSign(GRU):
    memory_sign = 0


class RetainsANumber(GRU):
    def retention(self, ops, biases):
        return 0.5


class Single(Fake):
    """A backend that computes in float32 and refuses anything else."""

    only = "float32"

    def dtypes(self, device):
        return (self.only,)

    def trainer(self, model, optimizer, parameters, execution):
        check_dtype(self, execution)
        return super().trainer(model, optimizer, parameters, execution)


class Double(Single):
    only = "float64"


@pytest.mark.parametrize("backend", [Single(), Double()], ids=["float32", "float64"])
def test_a_backend_of_one_dtype_is_asked_for_no_other(backend):
    other = "float64" if backend.only == "float32" else "float32"
    checks = list(
        checks_for_backend(backend, NumpyBackend(), [LSTM(), MinLSTM()], variants=["vectorised"])
    )
    results = [run_check(check) for check in checks]
    assert [result.message for result in results if not result.passed] == []
    left_out = {result.name for result in results if result.skipped}
    assert f"{other}_is_computed_in_{other}" in left_out
    assert not any(name.startswith("every_tensor") for name in left_out)
    assert len(left_out) < len({check.name for check in checks}) / 4


class HalfTanhShares(MinLSTM):
    """f / (f + i) without a guard: 0 / 0 if both round to 0."""

    def step(self, ops, zx, state, own):
        zx_f, zx_i, g = ops.split(zx, 3)
        f, i = (0.5 * (1.0 + ops.tanh(0.5 * part)) for part in (zx_f, zx_i))
        return (f / (f + i) * state.h + i / (f + i) * g,)


class Shared(Fake):
    """Runs minlstm by its own formula."""

    def trainer(self, model, optimizer, parameters, execution):
        return super().trainer(
            replace(model, cell=HalfTanhShares()), optimizer, parameters, execution
        )


def test_an_engine_that_divides_by_a_shut_gate_fails():
    checks = checks_for_backend(Shared(), NumpyBackend(), [MinLSTM()], variants=["vectorised"])
    result = run_check(check_named(checks, "saturated_gates_equal_the_reference"))
    assert not result.passed
    assert "biases at -1000" in result.message


@pytest.mark.parametrize(
    ("cell", "name", "message"),
    [
        (
            Flipped(),
            "the_gradient_equals_finite_differences",
            "d_zx of step_gradient is not the gradient of step",
        ),
        (
            CallsNumpy(),
            "step_can_be_traced",
            r"cell 'gru': numpy.tanh cannot be traced: use the functions of ops \(.*, line \d+: ",
        ),
        (Branches(), "step_can_be_traced", "cell 'gru': a comparison cannot be traced"),
        (
            Promotes(),
            "the_trace_equals_the_step",
            r"new state h of step must be an array \(3, 4\) float32, got \(3, 4\) float64",
        ),
        (AnotherOnArrays(), "the_trace_equals_the_step", f"new state h: .*{ERROR}"),
        (
            MixesSequences(),
            "the_gradient_equals_finite_differences",
            "depends on the other sequences of the batch",
        ),
        (NoSign(), "it_declares_itself_sanely", r"memory_sign must be one of \(1, -1\), got 0"),
        (RetainsANumber(), "it_declares_itself_sanely", r"retention: expected shape \(4,\)"),
        (NoSuchGate(), "it_declares_itself_sanely", "memory_gate must be one of .*, got 'f'"),
    ],
)
def test_a_wrong_cell_fails(cell, name, message):
    result = run_check(check_named(checks_for_cell(cell), name))
    assert not result.passed
    assert re.search(message, result.message), result.message


Adding, Copy = (
    next(task for task in harness_tasks() if task.name == name) for name in ("adding", "copy")
)


class HighBaseline(Copy):
    def baseline(self):
        return super().baseline() * 1.2


class LowBaseline(Copy):
    def baseline(self):
        return super().baseline() / 1.2


class SampleMean(Adding):
    """The mean of the batch, not of the distribution."""

    def baseline_outputs(self, batch):
        return np.full(batch.targets.shape, batch.targets[batch.mask].mean())


class WrongMean(Adding):
    def baseline_outputs(self, batch):
        return np.full(batch.targets.shape, 1.2)


class WrongShape(Adding):
    def baseline_outputs(self, batch):
        return np.ones(batch.targets.shape[:2])


class NanBaseline(Copy):
    def baseline(self):
        return math.nan


class FixedSeed(Copy):
    def training(self, rng, batch):
        while True:
            yield from self.validation(np.random.default_rng(0), batch)

    def validation(self, rng, batch):
        return super().validation(np.random.default_rng(0), batch)


class OwnSeed(Copy):
    def training(self, rng, batch):
        return super().training(np.random.default_rng(), batch)


class WideTargets(Copy):
    def training(self, rng, batch):
        return (
            replace(b, targets=b.targets.astype(np.int64)) for b in super().training(rng, batch)
        )


class OutOfRange(Copy):
    def training(self, rng, batch):
        return (replace(b, targets=b.targets + self.outputs) for b in super().training(rng, batch))


class ScoresNothing(Copy):
    def training(self, rng, batch):
        return (replace(b, mask=np.zeros_like(b.mask)) for b in super().training(rng, batch))


class HalfMarks(Copy):
    def score(self, batch, outputs):
        score = super().score(batch, outputs)
        return replace(score, hits=score.hits / 2)


class AlwaysRight(Copy):
    def score(self, batch, outputs):
        score = super().score(batch, outputs)
        return replace(score, hits=score.total)


class AlwaysSolved(Copy):
    def solved(self, evaluation):
        return True


@pytest.mark.parametrize(
    ("task", "name", "message"),
    [
        (HighBaseline, "baseline_is_that_of_a_trivial_predictor", r"baseline: \d\.\d+ is too high"),
        (LowBaseline, "baseline_is_that_of_a_trivial_predictor", r"baseline: \d\.\d+ is too low"),
        (
            NanBaseline,
            "baseline_is_that_of_a_trivial_predictor",
            "baseline: must be a positive number, got nan",
        ),
        (SampleMean, "baseline_outputs_are_a_fixed_predictors", "they change with the targets"),
        (
            WrongMean,
            "baseline_outputs_are_a_fixed_predictors",
            r"their loss is 0\.2\d+ .* baseline\(\) is 0\.166667",
        ),
        (
            WrongShape,
            "baseline_outputs_are_a_fixed_predictors",
            r"expected \(T, B, K\) = .* got \(\d+, 8\) float64",
        ),
        (
            FixedSeed,
            "validation_differs_from_training",
            "inputs: a validation batch is one of the first training",
        ),
        (
            OwnSeed,
            "equal_generators_give_equal_batches",
            "inputs: equal generators gave different batches",
        ),
        (WideTargets, "batches_are_well_formed", "targets: expected dtype int32, got int64"),
        (
            OutOfRange,
            "batches_are_well_formed",
            r"targets: \d+ is not a class 0..4 \(training batch",
        ),
        (ScoresNothing, "batches_are_well_formed", "mask: no position counts"),
        (HalfMarks, "perfect_outputs_score_full_marks", "score: perfect outputs hit .* of"),
        (AlwaysRight, "wrong_outputs_score_less", "score: wrong outputs hit"),
        (AlwaysSolved, "wrong_outputs_score_less", "solved: the loss of the baseline"),
    ],
)
def test_a_wrong_task_fails(task, name, message):
    result = run_check(check_named(checks_for_task(task, constant_baseline=True), name))
    assert not result.passed
    assert re.search(message, result.message), result.message


def test_the_kit_needs_no_pytest():
    program = (
        "import sys; sys.modules['pytest'] = None\n"
        "from harness.testing import checks_for_backend, run_check\n"
        "from harness_numpy import NumpyBackend\n"
        "print(run_check(next(checks_for_backend(NumpyBackend(), NumpyBackend()))).passed)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("True", 0), done.stderr
