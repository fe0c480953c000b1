"""JAX's variants against the float64 reference: checkpoints, blocks, scans, number formats."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.cells.minimal import MinGRU, MinLSTM
from harness.contract import (
    Batch,
    Execution,
    HarnessError,
    Inputs,
    Model,
    Optimizer,
    Trial,
    UnsupportedError,
)
from harness.measure.proof.parity import measure_parity
from harness.testing import BackendConformance

jax = pytest.importorskip("jax", reason="jax is not installed")
pytest.importorskip("optax", reason="optax is not installed")
from harness_jax import JaxBackend  # noqa: E402
from harness_jax import network as network_module  # noqa: E402
from harness_jax.recurrence import deer as deer_module  # noqa: E402
from harness_numpy import NumpyBackend  # noqa: E402

JAX = JaxBackend()
CELLS = {cell.name: cell for cell in (RNN(), ReluRNN(), LSTM(), GRU(), MinGRU(), MinLSTM())}
ALL = [(name, variant) for name, cell in CELLS.items() for variant in JAX.variants(cell)]
# Relative to the largest entry: another order of summation in float64.
EXACT = 1e-10


def unless(usual, *values):
    """Return a case; it is for the full run only unless it is a ``usual`` one."""
    return pytest.param(*values, marks=() if usual else pytest.mark.full)


def model_of(cell, hidden=3, layers=1, inputs=None, loss="cross_entropy", dropout=0.0):
    return Model(cell, inputs or Inputs("token", 5), hidden, layers, 4, loss, dropout)


def weights_of(model, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    size = scale / np.sqrt(model.hidden)
    return {
        name: rng.uniform(-size, size, shape) for name, shape in model.parameter_shapes().items()
    }


def batch_of(model, steps, size=2, seed=1, *, carry=False):
    rng, shape = np.random.default_rng(seed), (steps, size)
    if model.inputs.kind == "token":
        inputs = rng.integers(0, 5, shape, dtype=np.int32)
    else:
        inputs = rng.normal(size=(*shape, model.inputs.size))
    classes = model.loss == "cross_entropy"
    targets = rng.integers(0, 4, shape, dtype=np.int32) if classes else rng.normal(size=(*shape, 4))
    mask = rng.integers(2, size=shape) == 1
    mask[-1] = True
    return Batch(inputs, targets, mask, carry)


def trial_of(cell, variant, hidden, **fields):
    return Trial(
        backend="jax",
        variant=variant,
        task="copy",
        cell=cell.name,
        length=25,
        hidden=hidden,
        **fields,
    )


def trainer_of(model, variant, weights=None, rule=None, **execution):
    return JAX.trainer(
        model,
        rule or Optimizer("sgd"),
        weights or weights_of(model),
        Execution(variant, **execution),
    )


def gradients_of(model, variant, batch, **execution):
    trainer = trainer_of(model, variant, **execution)
    return trainer.gradients(trainer.put(batch))


def assert_same_gradients(found, expected, tolerance=EXACT):
    assert found.loss == pytest.approx(expected.loss, rel=tolerance)
    for name, array in (expected.parameters | {"hidden": expected.hidden}).items():
        other = found.hidden if name == "hidden" else found.parameters[name]
        np.testing.assert_allclose(
            other, array, rtol=0, atol=tolerance * np.abs(array).max(), err_msg=name
        )


class TestLinearCells(BackendConformance):
    """What depends on the cell, at few shapes, on a cell without recurrent weights."""

    backend = JAX
    cells = (MinGRU(),)
    lengths = (1, 7)
    grid = "few"


class TestDeer(TestLinearCells):
    """The same of Newton's method, with the cell that compiles soonest (parity has all cells)."""

    cells = (RNN(),)
    variants = ("deer",)

    def checks(self):
        """Leave out checkpoints, which compile longest."""
        for check in super().checks():
            if self.grid == "cover" or not check.name.startswith("checkpointed_bptt"):
                yield check


@pytest.mark.full
class TestLinearCellsInFull(TestLinearCells):
    """Every check."""

    grid = "cover"


@pytest.mark.full
class TestDeerInFull(TestDeer):
    """Every check."""

    grid = "cover"


def deep_model(name):
    return model_of(CELLS[name], layers=2, inputs=Inputs("real", 2), loss="squared_error")


@cache
def plain_gradients(name, variant):
    model = deep_model(name)
    return gradients_of(model, variant, batch_of(model, 10), dtype="float64")


@pytest.mark.parametrize(
    ("name", "variant", "checkpoint"),
    [
        unless(
            (checkpoint == 3 and (name, variant) != ("lstm", "deer"))
            or (name, variant) == ("lstm", "fused"),
            *(name, variant, checkpoint),
        )
        for name, variant in ALL
        for checkpoint in (1, 3, 4, 100)
        if name in {"lstm", "mingru"}
    ],
)
def test_checkpoints_change_no_gradient(name, variant, checkpoint):
    model = deep_model(name)
    batch = batch_of(model, 10)
    found = gradients_of(model, variant, batch, dtype="float64", checkpoint=checkpoint)
    assert_same_gradients(found, plain_gradients(name, variant))


@pytest.mark.parametrize("variant", ["scan", "fused"])
def test_a_checkpointed_step_trains_like_one_that_keeps_all(variant):
    """Dropout included: its masks do not depend on the chunks."""
    model = model_of(GRU(), layers=3, dropout=0.5)
    found, expected = (
        trainer_of(model, variant, dtype="float64", checkpoint=checkpoint, dropout_seed=7)
        for checkpoint in (4, "off")
    )
    for seed, carry in ((1, False), (2, True)):
        batch = batch_of(model, 10, seed=seed, carry=carry)
        losses = [
            float(trainer.train_step(trainer.put(batch)).loss) for trainer in (found, expected)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=EXACT)
    for name, array in expected.parameters().items():
        np.testing.assert_allclose(
            found.parameters()[name], array, rtol=0, atol=EXACT, err_msg=name
        )
    np.testing.assert_allclose(found.state()[0], expected.state()[0], rtol=0, atol=EXACT)
    batch = batch_of(model, 10, carry=True)
    outputs = [trainer.outputs(trainer.put(batch)) for trainer in (found, expected)]
    np.testing.assert_allclose(*outputs, rtol=0, atol=EXACT)


def test_checkpoints_bound_the_memory_of_a_step():
    """XLA's memory for one step grows with the number and length of chunks, not with T."""
    model = model_of(LSTM(), hidden=32)

    def temporary_bytes(steps, **execution):
        trainer = trainer_of(model, "fused", **execution)
        batch = trainer.put(batch_of(model, steps, size=8))
        trainer.compile(batch)
        return trainer._steps[batch.shape].memory_analysis().temp_size_in_bytes

    assert temporary_bytes(4096, checkpoint="auto") < temporary_bytes(4096) / 10
    assert temporary_bytes(4096, checkpoint="auto") < 3 * temporary_bytes(1024, checkpoint="auto")


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        unless(name == "lstm" or steps == 37, name, steps)
        for name in ("rnn", "rnn_relu", "lstm", "gru", "mingru")
        for steps in (31, 32, 37)
    ],
)
def test_blocks_change_no_gradient(monkeypatch, name, steps):
    """Of 32 time steps two blocks of 16 are made, of 37 four of 8 and a rest; 31 are too few."""
    model = model_of(CELLS[name], layers=2)
    batch = batch_of(model, steps)
    expected = gradients_of(model, "scan", batch, dtype="float64")
    monkeypatch.setattr(network_module, "SMALLEST_IN_BLOCKS", 0)
    assert_same_gradients(gradients_of(model, "fused", batch, dtype="float64"), expected)


def test_blocks_are_for_long_batches_of_many_numbers(monkeypatch):
    taken = []
    in_chunks = network_module._in_chunks
    monkeypatch.setattr(
        network_module, "_in_chunks", lambda *given: (taken.append(given[3]), in_chunks(*given))[1]
    )
    for variant, steps, size in (
        ("fused", 64, 256),
        ("fused", 37, 256),
        ("fused", 20, 256),
        ("fused", 64, 1),
    ):
        model = model_of(RNN(), hidden=4)
        trainer = trainer_of(model, variant)
        trainer.compile(trainer.put(batch_of(model, steps, size)))
    assert taken == [16, 8, None, None]


# The kit compares float32 gradients of these elsewhere.
IN_KIT = [(name, variant) for name in ("rnn", "lstm", "gru") for variant in ("fused", "native")]
IN_KIT += [("mingru", variant) for variant in JAX.variants(MinGRU())]
IN_KIT += [("lstm", "scan"), ("rnn", "deer")]


@pytest.mark.parametrize(
    ("name", "variant", "dtype"),
    [
        unless(
            (name, variant) not in IN_KIT
            if dtype == "float32"
            else name in {"lstm", "mingru"} or variant == "fused",
            name,
            variant,
            dtype,
        )
        for name, variant in ALL
        for dtype in ("float32", "bfloat16")
    ],
)
def test_every_variant_passes_parity(name, variant, dtype):
    model = model_of(CELLS[name], hidden=6, layers=3)
    if reason := JAX.why_unsupported(model, trial_of(CELLS[name], variant, 6, dtype=dtype)):
        pytest.skip(reason)
    parity = measure_parity(
        JAX,
        NumpyBackend(),
        model,
        weights_of(model),
        batch_of(model, 33, 4),
        Execution(variant, dtype=dtype),
    )
    assert parity.passed, str(parity)


DEER_SIZES = [("rnn", 1, 1), ("rnn", 16, 300), ("gru", 3, 7), ("lstm", 16, 64)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "hidden", "steps"),
    [
        unless((name, hidden, steps) in DEER_SIZES, name, hidden, steps)
        for name in ("rnn", "gru", "lstm")
        for hidden in (1, 3, 16)
        for steps in (1, 7, 64, 300)
    ],
)
def test_deer_passes_parity(name, hidden, steps):
    model = model_of(CELLS[name], hidden=hidden)
    parity = measure_parity(
        JAX,
        NumpyBackend(),
        model,
        weights_of(model),
        batch_of(model, steps),
        Execution("deer", dtype="float32"),
    )
    assert parity.passed, str(parity)


@pytest.mark.parametrize("name", ["rnn", pytest.param("gru", marks=pytest.mark.full), "lstm"])
def test_deer_carries_a_state_that_follows_from_the_last(name):
    """From 64 time steps on, an error of one iteration would show."""
    model = model_of(CELLS[name], hidden=8, layers=2)
    found, expected = (trainer_of(model, variant, dtype="float64") for variant in ("deer", "scan"))
    for batch in (batch_of(model, 64), batch_of(model, 64, seed=3, carry=True)):
        outputs = [trainer.outputs(trainer.put(batch)) for trainer in (found, expected)]
        np.testing.assert_allclose(*outputs, rtol=0, atol=EXACT)
    one, other = (trainer.gradients(trainer.put(batch)) for trainer in (found, expected))
    assert_same_gradients(one, other)


@pytest.mark.parametrize(("name", "scale"), [("rnn", 3.0), ("lstm", 4.0)])
def test_deer_converges_where_the_first_guess_makes_the_recurrence_expand(name, scale):
    """Linearised around zero, 1,000 steps overflow float32; the cell's states are bounded."""
    model = model_of(CELLS[name], hidden=16)
    weights, batch = weights_of(model, scale), batch_of(model, 1000)
    found, expected = (trainer_of(model, variant, weights) for variant in ("deer", "scan"))
    outputs = [trainer.outputs(trainer.put(batch)) for trainer in (found, expected)]
    np.testing.assert_allclose(*outputs, rtol=0, atol=1e-3)


def test_deer_reaches_a_state_that_grows_with_every_time_step():
    """Gates all but open: c counts time steps, to some hundred."""
    model = model_of(LSTM(), hidden=4)
    weights = weights_of(model, scale=0.1)
    weights["bias_ih_l0"] = np.repeat([4.0, 8.0, 3.0, 0.0], 4)  # i, f, g, o
    batch = batch_of(model, 1000)
    found, expected = (trainer_of(model, variant, weights) for variant in ("deer", "scan"))
    outputs = [trainer.outputs(trainer.put(batch)) for trainer in (found, expected)]
    np.testing.assert_allclose(*outputs, rtol=0, atol=1e-3)


def test_deer_of_weights_that_are_not_finite_gives_a_loss_that_is_nan():
    model = model_of(LSTM(), hidden=4)
    weights, batch = weights_of(model), batch_of(model, 20)
    weights["weight_hh_l0"] = np.full_like(weights["weight_hh_l0"], np.nan)
    trainer = trainer_of(model, "deer", weights)
    assert np.isnan(float(trainer.train_step(trainer.put(batch)).loss))


@pytest.mark.parametrize(
    ("iterations", "scale", "checkpoint", "calls"),
    [
        (2, 1.0, "off", ("gradients", "train_step", "outputs")),
        (2, 1.0, 18, ("train_step",)),
        (100, 9.0, "off", ("train_step",)),
    ],
)
def test_deer_that_does_not_converge_says_so(monkeypatch, iterations, scale, checkpoint, calls):
    """Too few iterations; and weights so large that the iteration runs away, to NaN."""
    monkeypatch.setattr(deer_module, "ITERATIONS", iterations)
    model = model_of(RNN(), hidden=16)
    batch = batch_of(model, 300)
    for call in calls:
        trainer = trainer_of(model, "deer", weights_of(model, scale), checkpoint=checkpoint)
        with pytest.raises(
            HarnessError, match=rf"jax:deer has not converged: after {iterations} .* jax:fused$"
        ):
            getattr(trainer, call)(trainer.put(batch))


@pytest.mark.parametrize(
    ("cell", "variant", "hidden", "dtype", "reason"),
    [
        (LSTM(), "deer", 17, "float32", r"up to 32 numbers of state, not 34 \(2 x hidden 17\)"),
        (GRU(), "deer", 33, "float32", "their square and its work with their cube"),
        (ReluRNN(), "deer", 4, "float32", r"its step has a kink \(relu\): choose jax:fused"),
        (MinGRU(), "deer", 4, "float32", "no product of a state"),
        (GRU(), "deer", 4, "bfloat16", "needs float32 or float64"),
        (GRU(), "parallel", 4, "float32", "gru is not linear in its state"),
    ],
)
def test_what_cannot_run_in_parallel_is_refused_with_the_reason(
    cell, variant, hidden, dtype, reason
):
    model = model_of(cell, hidden)
    assert JAX.why_unsupported(model, trial_of(cell, variant, hidden, dtype=dtype)) is not None
    with pytest.raises(UnsupportedError, match=reason):
        trainer_of(model, variant, dtype=dtype)
    assert JAX.why_unsupported(replace(model, hidden=16), trial_of(LSTM(), "fused", 16)) is None


def test_the_fastest_depends_on_cell_size_and_device():
    fastest = "native" if "native" in JAX.variants(LSTM()) else "fused"
    assert JAX.fastest_variant(LSTM(), trial_of(LSTM(), "scan", 128)) == fastest
    assert JAX.fastest_variant(LSTM(), trial_of(LSTM(), "scan", 128, dtype="bfloat16")) == "fused"
    assert JAX.fastest_variant(MinGRU(), trial_of(MinGRU(), "scan", 128)) == fastest
    for batch, expected in ((32, "fused"), (1, "parallel")):
        trial = trial_of(MinGRU(), "scan", 128, batch=batch, dtype="bfloat16")
        assert JAX.fastest_variant(MinGRU(), trial) == expected
    assert (
        JAX.fastest_variant(MinGRU(), trial_of(MinGRU(), "scan", 128, device="cuda")) == "parallel"
    )
    for cell in CELLS.values():
        assert JAX.variants(cell)[0] == "scan"


def test_bfloat16_is_mixed_precision():
    """Weights, optimizer and loss in float32; the state in bfloat16; every copy in float32."""
    model = model_of(LSTM(), hidden=16)
    trainer = trainer_of(model, "fused", rule=Optimizer("adam"), dtype="bfloat16")
    batch = trainer.put(batch_of(model, 7))
    result = trainer.train_step(batch)
    assert str(result.loss.array.dtype) == "float32"
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(trainer._progress)} == {"float32", "int32"}
    assert {str(part.dtype) for part in trainer._state} == {"bfloat16"}
    assert trainer.placement().dtype == "bfloat16"
    gradients = trainer.gradients(batch)
    copies = [
        *trainer.state(),
        trainer.outputs(batch),
        gradients.hidden,
        *gradients.parameters.values(),
    ]
    assert {str(copy.dtype) for copy in copies} == {"float32"}
    trainer.load_state(trainer.state())
    trainer.train_step(trainer.put(batch_of(model, 7, carry=True)))


def test_bfloat16_really_rounds():
    model = model_of(GRU(), hidden=16)
    batch = batch_of(model, 20)
    half, single = (
        gradients_of(model, "fused", batch, dtype=dtype) for dtype in ("bfloat16", "float32")
    )
    error = np.abs(half.hidden - single.hidden).max() / np.abs(single.hidden).max()
    assert 1e-4 < error < 0.1  # half an epsilon is 4e-3


def test_tf32_is_for_gpus():
    assert JAX.dtypes("cpu") == ("float32", "float64", "bfloat16")
    assert "tf32" in JAX.dtypes("cuda:1")
    trainer = trainer_of(model_of(RNN()), "fused", dtype="tf32")
    assert trainer.placement().dtype == "tf32"
    assert trainer.placement().matmul_precision == "tensorfloat32"
