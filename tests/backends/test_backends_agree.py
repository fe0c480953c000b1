"""Every variant of torch and JAX computes what NumPy computes in float64."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest

from harness.cells import (
    GRU,
    LSTM,
    RNN,
    SRU,
    GatedDelta,
    MinLSTM,
    PeepholeLSTM,
    ReluRNN,
    ResetBeforeGRU,
)
from harness.contract import Batch, Cell, Execution, Inputs, Model, Optimizer
from harness_numpy import NumpyBackend

T, B, D, H, K = 6, 3, 5, 4, 3
EXACT = 1e-12  # float64: a few hundred roundings of numbers near 1
SINGLE = 2e-5  # float32: the same count of roundings, 5e8 times larger
FIVE_STEPS = 1e-10  # float64: EXACT after five updates, some divided by a small root


class Remembering(Cell):
    """A third party's cell, of the old form: its input gate ignores the recurrence."""

    name, gates, states = "remembering", ("a", "b"), ("h", "memory")

    def step(self, ops, zx, zh, state):
        (zx_a, zx_b), (zh_a, _) = ops.split(zx, 2), ops.split(zh, 2)
        a = ops.tanh(zx_a + zh_a)
        memory = 0.9 * state[1] + ops.sigmoid(zx_b) * ops.exp(-a)
        return ops.relu(a) + memory, memory


ON_SCAN = {"lstm", "gru_reset_before", "gated_delta"}
IN_TORCH = ("rnn", "rnn_relu", "lstm", "gru")  # in torch.nn
CELLS = {  # together they need all that an engine must do
    cell.name: cell
    for cell in [
        RNN(), ReluRNN(), LSTM(), GRU(), MinLSTM(),
        PeepholeLSTM(), ResetBeforeGRU(), SRU(), GatedDelta(), Remembering(),
    ]
}  # fmt: skip


@dataclass(frozen=True)
class Engine:
    """A backend and one of its variants."""

    backend: str
    variant: str

    def trainer(self, model, optimizer, parameters, dtype="float64", seed=0):
        backend = import_module(f"harness_{self.backend}").harness_backends()[0]
        execution = Execution(self.variant, dtype=dtype, dropout_seed=seed)
        return backend.trainer(model, optimizer, parameters, execution)

    def __str__(self):
        return f"{self.backend}:{self.variant}"


def marked(engine, *rest, full=False):
    missing = pytest.mark.skipif(
        find_spec(engine.backend) is None, reason=f"{engine.backend} is not installed"
    )
    marks = [missing, pytest.mark.full] if full else [missing]
    return pytest.param(engine, *rest, marks=marks, id="-".join(map(str, [engine, *rest])))


GENERIC = [
    Engine("torch", "fused"),
    Engine("torch", "loop"),
    Engine("jax", "fused"),
    Engine("jax", "scan"),
]
LIBRARY = Engine("torch", "library")
ENGINES = [*GENERIC, LIBRARY]
DEFAULTS = [LIBRARY, Engine("jax", "fused")]  # the update does not depend on the variant

each_engine = pytest.mark.parametrize("engine", [marked(engine) for engine in ENGINES])
each_default = pytest.mark.parametrize("engine", [marked(engine) for engine in DEFAULTS])
ENGINES_WITH_CELLS = [
    (engine, name)
    for engine in ENGINES
    for name in CELLS
    if (engine != LIBRARY or name in IN_TORCH)
    and (engine.variant != "fused" or name != "gated_delta")
]
each_engine_and_cell = pytest.mark.parametrize(
    ("engine", "cell"),  # jax:scan runs the equations of jax:fused
    [marked(*p, full=str(p[0]) == "jax:scan" and p[1] not in ON_SCAN) for p in ENGINES_WITH_CELLS],
)


def token_model(cell="lstm", layers=1, dropout=0.0):
    return Model(CELLS[cell], Inputs("token", D), H, layers, K, "cross_entropy", dropout)


def real_model(cell="lstm", layers=2):
    return Model(CELLS[cell], Inputs("real", D), H, layers, K, "squared_error")


def weights_of(model, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape) * 0.5 for name, shape in model.parameter_shapes().items()}


def batch_of(model, *, seed=1, steps=T, carry=False):
    rng = np.random.default_rng(seed)
    mask = rng.random((steps, B)) < 0.6
    mask[-1] = True
    token, classes = model.inputs.kind == "token", model.loss == "cross_entropy"
    inputs = (
        rng.integers(0, D, (steps, B)).astype(np.int32) if token else rng.normal(size=(steps, B, D))
    )
    targets = (
        rng.integers(0, K, (steps, B)).astype(np.int32)
        if classes
        else rng.normal(size=(steps, B, K))
    )
    return Batch(inputs, targets, mask, carry)


def reference_of(model, optimizer=None, weights=None):
    return NumpyBackend().trainer(
        model,
        optimizer or Optimizer(),
        weights or weights_of(model),
        Execution("vectorised", dtype="float64"),
    )


def assert_equal(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=tolerance, err_msg=name)


def assert_same_gradients(trainer, reference, batch, tolerance, dtype="float64"):
    found, expected = (one.gradients(one.put(batch)) for one in (trainer, reference))
    assert {array.dtype for array in [found.hidden, *found.parameters.values()]} == {
        np.dtype(dtype)
    }
    assert found.loss == pytest.approx(expected.loss, abs=tolerance)
    assert_equal(found.parameters, expected.parameters, tolerance)
    np.testing.assert_allclose(found.hidden, expected.hidden, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("engine", "cell"),  # compiling is slow, and how tokens come in is the same for every cell
    [marked(*pair) for pair in ENGINES_WITH_CELLS if pair[0].backend != "jax" or pair[1] == "lstm"],
)
def test_gradients_of_one_layer_on_tokens_equal_the_reference(engine, cell):
    model = token_model(cell)
    trainer = engine.trainer(model, Optimizer(), weights_of(model))
    assert_same_gradients(trainer, reference_of(model), batch_of(model), EXACT)


@each_engine_and_cell
def test_gradients_of_two_layers_on_vectors_from_a_carried_state_equal_the_reference(engine, cell):
    model = real_model(cell)
    trainer, reference = engine.trainer(model, Optimizer(), weights_of(model)), reference_of(model)
    rng = np.random.default_rng(2)
    state = tuple(rng.normal(size=shape) for shape in model.state_shapes(B))
    for one in (trainer, reference):
        one.load_state(state)
    assert_same_gradients(trainer, reference, batch_of(model, carry=True), EXACT)
    for kept, part in zip(trainer.state(), state, strict=True):
        np.testing.assert_array_equal(kept, part)


@each_engine
def test_float32_gradients_are_near_the_reference(engine):
    model = real_model()
    trainer = engine.trainer(model, Optimizer(), weights_of(model), "float32")
    assert_same_gradients(trainer, reference_of(model), batch_of(model), SINGLE, "float32")


@each_engine
def test_one_time_step_is_enough(engine):
    model = token_model()
    trainer = engine.trainer(model, Optimizer(), weights_of(model))
    assert_same_gradients(trainer, reference_of(model), batch_of(model, steps=1), EXACT)


RULES = {
    "sgd": {"learning_rate": 0.3},
    "momentum": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
    "rmsprop": {"learning_rate": 0.01},
    "adagrad": {"learning_rate": 0.05, "epsilon": 1e-10},
    "adam": {"learning_rate": 0.02},
}
CLIPS = {
    "unclipped": {},
    "norm": {"clip_norm": 0.3},
    "loose_norm": {"clip_norm": 1e3},
    "value": {"clip_value": 0.02},
}


def assert_same_training(engine, model, optimizer, tolerance, dtype="float64"):
    """Five steps, every second one carried: losses, norms, clipping, state and parameters."""
    weights = weights_of(model)
    trainer = engine.trainer(model, optimizer, weights, dtype)
    reference = reference_of(model, optimizer, weights)
    for step in range(5):
        batch = batch_of(model, seed=step, carry=step % 2 == 1)
        found, expected = (one.train_step(one.put(batch)) for one in (trainer, reference))
        assert float(found.loss) == pytest.approx(float(expected.loss), abs=tolerance)
        assert float(found.gradient_norm) == pytest.approx(
            float(expected.gradient_norm), abs=tolerance
        )
        assert bool(found.clipped) == bool(expected.clipped)
    trainer.synchronize()
    arrays = [*trainer.state(), *trainer.parameters().values(), trainer.outputs(trainer.put(batch))]
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}
    reference.outputs(reference.put(batch))
    np.testing.assert_allclose(trainer.state(), reference.state(), rtol=0, atol=tolerance)
    assert_equal(trainer.parameters(), reference.parameters(), tolerance)


@pytest.mark.parametrize(
    ("engine", "rule", "clip"),  # compiling is slow, and in JAX rules and clipping do not meet
    [
        marked(engine, rule, clip)
        for engine in DEFAULTS
        for rule in RULES
        for clip in CLIPS
        if engine.backend != "jax" or rule == "sgd" or clip == "norm"
    ],
)
def test_five_steps_of_every_rule_equal_the_reference(engine, rule, clip):
    optimizer = Optimizer(**({"name": rule} | RULES[rule] | CLIPS[clip]))
    assert_same_training(engine, token_model("rnn"), optimizer, FIVE_STEPS)


@each_engine
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", FIVE_STEPS), ("float32", SINGLE)])
def test_five_steps_of_every_variant_equal_the_reference(engine, dtype, tolerance):
    assert_same_training(engine, real_model(), Optimizer(clip_norm=0.3), tolerance, dtype)


@each_default
@pytest.mark.parametrize(
    "schedule",
    [
        {"schedule": "exponential", "schedule_steps": 2, "schedule_factor": 0.5},
        {"schedule": "cosine", "schedule_steps": 4},
    ],
    ids=lambda schedule: schedule["schedule"],
)
def test_a_schedule_acts_at_every_step(engine, schedule):
    optimizer = Optimizer("sgd", 0.3, **schedule)
    assert_same_training(engine, token_model("rnn"), optimizer, FIVE_STEPS)


@each_engine
def test_two_windows_with_carried_state_equal_one_long_sequence(engine):
    model = token_model("gru", layers=2)
    trainer = engine.trainer(model, Optimizer(), weights_of(model))
    long = batch_of(model, steps=2 * T)
    expected = trainer.outputs(trainer.put(long))
    halves = [
        Batch(long.inputs[part], long.targets[part], long.mask[part], carry=index > 0)
        for index, part in enumerate([slice(0, T), slice(T, 2 * T)])
    ]
    found = np.concatenate([trainer.outputs(trainer.put(half)) for half in halves])
    np.testing.assert_allclose(found, expected, rtol=0, atol=EXACT)
    reference = reference_of(model)
    np.testing.assert_allclose(expected, reference.outputs(reference.put(long)), rtol=0, atol=EXACT)


@each_default
def test_loading_starts_the_optimizer_afresh(engine):
    model = token_model("rnn")
    trainer = engine.trainer(
        model, Optimizer(learning_rate=0.1, schedule="cosine", schedule_steps=3), weights_of(model)
    )
    batch = trainer.put(batch_of(model))

    def trained():
        trainer.load(weights_of(model))
        for _ in range(3):
            trainer.train_step(batch)
        return trainer.parameters()

    assert_equal(trained(), trained(), 0)


@each_default
def test_what_is_handed_over_shares_no_memory(engine):
    model = token_model("rnn")
    weights, batch = weights_of(model), batch_of(model)
    trainer = engine.trainer(model, Optimizer(), weights)
    on_device = trainer.put(batch)
    expected = trainer.gradients(on_device)
    for array in [*weights.values(), batch.inputs, batch.targets, *trainer.parameters().values()]:
        array[...] = 0
    assert_equal(trainer.gradients(on_device).parameters, expected.parameters, 0)
    trainer.train_step(on_device)
    state, before = trainer.state(), trainer.parameters()
    kept = {name: array.copy() for name, array in before.items()}
    state[0][...] = 9
    assert not np.any(trainer.state()[0] == 9)
    trainer.train_step(on_device)
    assert_equal(before, kept, 0)


@pytest.mark.parametrize("engine", [marked(engine) for engine in (LIBRARY, *GENERIC[:3])])
def test_dropout_acts_in_training_only_and_follows_its_seed(engine):
    model, plain = token_model("rnn", 2, dropout=0.5), token_model("rnn", 2)
    batch = batch_of(model)

    def losses(seed):
        trainer = engine.trainer(model, Optimizer("sgd", 1e-9), weights_of(model), seed=seed)
        on_device = trainer.put(batch)
        return [float(trainer.train_step(on_device).loss) for _ in range(3)]

    first, again, other = losses(1), losses(1), losses(2)
    assert first == again
    assert len({*first, *other}) == 6
    trainer = engine.trainer(model, Optimizer(), weights_of(model))
    assert_same_gradients(trainer, reference_of(plain), batch, EXACT)
    outputs, reference = trainer.outputs(trainer.put(batch)), reference_of(plain)
    np.testing.assert_allclose(outputs, reference.outputs(reference.put(batch)), rtol=0, atol=EXACT)


@each_default
def test_dropout_keeps_the_mean(engine):
    """With the upper layer nearly linear, the mean of many masks is the value without dropout."""
    model = Model(CELLS["rnn"], Inputs("real", D), H, 2, K, "squared_error", dropout=0.25)
    weights = weights_of(model)
    batch = Batch(np.ones((1, 4000, D)), np.zeros((1, 4000, K)), np.ones((1, 4000), bool))
    weights |= {name: 1e-3 * weights[name] for name in ("weight_ih_l1", "bias_ih_l1", "bias_hh_l1")}
    trainer = engine.trainer(model, Optimizer("sgd", 1e-9), weights)
    trainer.train_step(trainer.put(batch))
    dropped = trainer.state()[0][1]
    trainer.outputs(trainer.put(batch))
    kept = trainer.state()[0][1]
    np.testing.assert_allclose(
        dropped.mean(0), kept.mean(0), rtol=0, atol=4 * dropped.std(0).max() / np.sqrt(4000)
    )
    assert dropped.std(0).min() > 0
