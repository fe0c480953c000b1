"""Limits: the chains compute what they claim, and stored limits are not measured again."""

from dataclasses import replace

import numpy as np
import pytest

from harness.cells import LSTM, RNN
from harness.contract import Execution, Inputs, Model
from harness.measure.timing.limits import LARGE, LimitMeter, Limits, fastest_round, limit_figures
from harness.measure.timing.speed import training_flops_per_token
from harness.plugins import load_plugins

MODEL = Model(LSTM(), Inputs("token", 10), 4, 2, 10, "cross_entropy")
ROUNDS = 7
TOLERANCE = {"float32": 1e-5, "float64": 1e-13}  # a few dozen roundings


class FakeClock:
    """Time passes only when somebody works."""

    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return self.seconds


@pytest.fixture(scope="module")
def plugins():
    return load_plugins()


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shapes", [[(6, 6)], [(6, 24), (24, 6)], [(6, 3), (3, 5), (5, 6)]])
def test_every_engine_takes_the_products_of_the_chain_one_after_the_other(
    plugins, backend, dtype, shapes
):
    rng = np.random.default_rng(1)
    start, matrices = (
        rng.standard_normal((3, 6)),
        [0.5 * rng.standard_normal(shape) for shape in shapes],
    )
    engine = plugins.backend(backend)
    run = engine.product_chain(start, matrices, Execution("", dtype=dtype))
    expected = start
    for _ in range(ROUNDS):
        for matrix in matrices:
            expected = expected @ matrix
    found = run(ROUNDS)
    assert found.dtype == dtype
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=TOLERANCE[dtype] * np.abs(expected).max()
    )
    np.testing.assert_array_equal(run(ROUNDS), found)


def test_the_seconds_of_a_round_are_those_of_the_fastest_repeat():
    clock = FakeClock()
    slow = iter([0.0, 0.0, 0.0, 0.0, 3.0, 1.0, 0.5, 2.0])

    def chain(rounds):
        clock.seconds += 0.01 * rounds * (1 + next(slow, 0.0))

    assert fastest_round(chain, clock) == pytest.approx(0.01)


class Counting(type(load_plugins(block=("torch", "jax")).backend("numpy"))):
    """NumPy, and how often its chain was asked for; each round takes a known time."""

    def __init__(self, clock):
        self.clock, self.asked = clock, []

    def product_chain(self, start, matrices, execution):
        self.asked.append((start.shape, [matrix.shape for matrix in matrices]))
        norm = np.linalg.norm(start)
        for matrix in matrices:
            start = start @ matrix
        assert np.linalg.norm(start) == pytest.approx(norm)  # neither grows nor dies down

        def run(rounds):
            self.clock.seconds += rounds * (0.25 if len(matrices) == 1 else 0.001)
            return start.astype(execution.dtype)

        return run


def limits_of(backend, clock, known=None):
    return LimitMeter(backend, Execution(""), 1, clock, known or {}).measure(MODEL, 3)


def test_the_large_product_and_the_chain_of_the_recurrence_are_measured_once():
    clock = FakeClock()
    backend = Counting(clock)
    limits, new = limits_of(backend, clock)
    assert limits == Limits(2 * LARGE**3 / 0.25, pytest.approx(0.001))
    assert backend.asked == [((LARGE, LARGE), [(LARGE, LARGE)]), ((3, 4), [(4, 16), (16, 4)])]
    again, nothing = limits_of(backend, clock, new)
    assert (again, nothing, len(backend.asked)) == (limits, {}, 2)


def test_a_round_of_a_cell_with_one_gate_has_two_products_as_well():
    backend = Counting(FakeClock())
    LimitMeter(backend, Execution(""), 1, backend.clock).measure(replace(MODEL, cell=RNN()), 3)
    assert backend.asked[1] == ((3, 4), [(4, 4), (4, 4)])


def test_what_is_known_of_another_version_is_measured_again(monkeypatch):
    clock = FakeClock()
    backend = Counting(clock)
    _, known = limits_of(backend, clock)
    monkeypatch.setattr(Counting, "versions", lambda self: {"numpy": "0.0"})
    again = limits_of(backend, clock, known)[1]
    assert len(again) == len(known) == 2
    assert set(again).isdisjoint(known)


def test_an_engine_without_a_chain_has_unknown_limits_and_says_why(monkeypatch):
    monkeypatch.setattr(Counting, "product_chain", lambda *_: None)
    limits, new = limits_of(Counting(FakeClock()), FakeClock())
    assert (limits.peak_flops_per_second, limits.chain_seconds, new) == (None, None, {})
    assert "offers no chain" in limits.reason
    assert limit_figures(limits, MODEL, 3, 5, 0.1) == {}


def test_fractions_are_those_of_the_formula():
    batch, steps, layers, gates, hidden = 3, 5, 2, 4, 4
    flops = training_flops_per_token(MODEL) * batch * steps
    serial = layers * steps * 2 * (2 * gates * hidden * hidden * batch)
    figures = limit_figures(Limits(1e6, 1e-3), MODEL, batch, steps, 0.5)
    assert figures["fraction_of_peak"] == pytest.approx(flops / 0.5 / 1e6)
    least = layers * steps * 1e-3 + (flops - serial) / 1e6
    assert figures["fraction_of_serial_limit"] == pytest.approx(least / 0.5)


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_engines_tell_the_dtype_and_device_that_they_really_use(plugins, backend, dtype):
    from harness.contract import Batch, Optimizer
    from harness.measure.proof.initialise import initial_parameters

    engine = plugins.backend(backend)
    variant = engine.variants(MODEL.cell)[0]
    trainer = engine.trainer(
        MODEL, Optimizer("sgd", 0.1), initial_parameters(MODEL, 0), Execution(variant, dtype=dtype)
    )
    tokens = np.zeros((2, 3), np.int32)
    before = trainer.compilations()
    batch = trainer.put(Batch(tokens, tokens, np.ones((2, 3), bool)))
    trainer.compile(batch)
    compiled = trainer.compilations()
    trainer.train_step(batch)
    trainer.train_step(batch)
    trainer.synchronize()
    assert (trainer.placement().device, trainer.placement().dtype) == ("cpu", dtype)
    assert before is compiled is None or (compiled > before and trainer.compilations() == compiled)
