"""No cell is a reference before its gradient is proven; errors blame the cell."""

import re
from dataclasses import replace

import numpy as np
import pytest

from harness.cells import GRU, LSTM, MinLSTM, ReluRNN, harness_cells
from harness.contract import Cell, Missing, Product, Trial
from harness.contract.errors import ParityError
from harness.measure.events import Finished
from harness.measure.proof.cell_proof import prove
from harness.measure.runner import run_trial
from harness.plugins import load_plugins, query
from harness.plugins.catalog import Loaded

pytestmark = pytest.mark.slow

LABEL = "cell 'mine' from harness-mine 2.1"
NUMBERS = r"\d(\.\d+)?(e[+-]\d+)?"


class Leaky(Cell):
    """In the old form: the recurrent product zh is an argument, the gradient stated by hand."""

    name = "leaky"
    gates = ("h",)

    def step(self, ops, zx, zh, state):
        return (0.5 * state[0] + 0.5 * ops.tanh(zx + zh),)

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        a, d_h = ops.tanh(zx + zh), d_new_state[0]
        d_z = 0.5 * d_h * (1.0 - a * a)
        return d_z, d_z, (0.5 * d_h,)


class Exponential(Cell):
    """An input gate without a bound, as the sLSTM has it; in the old form without a product."""

    name = "exponential"
    gates = ("i", "h")
    recurrent = False

    def step(self, ops, zx, zh, state):
        z_i, value = ops.split(zx, 2)
        return (state[0] + ops.exp(z_i) * value,)

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        z_i, value = ops.split(zx, 2)
        d = d_new_state[0] * ops.exp(z_i)
        return ops.concatenate([d * value, d]), None, (d_new_state[0],)


class StatedLSTM(LSTM):
    """The LSTM with the gradient that one would derive by hand."""

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        z_i, z_f, z_g, z_o = ops.split(zx + zh, 4)
        i, f, o, g = (*map(ops.sigmoid, (z_i, z_f, z_o)), ops.tanh(z_g))
        t = ops.tanh(new_state[1])
        d_c = d_new_state[1] + d_new_state[0] * o * (1.0 - t * t)
        d_z = ops.concatenate([
            d_c * g * i * (1.0 - i), d_c * state[1] * f * (1.0 - f), d_c * i * (1.0 - g * g),
            d_new_state[0] * t * o * (1.0 - o),
        ])  # fmt: skip
        return d_z, d_z, (0.0, d_c * f)


class Kinked(Cell):
    """Hard sigmoid gate and a clipped state: kinks in all arguments."""

    name = "kinked"
    gates = ("f", "h")
    states = ("h", "c")

    def step(self, ops, zx, state, own):
        z_f, value = ops.split(zx + ops.product("hh", state.h), 2)
        raw = 0.2 * z_f + 0.5
        gate = ops.relu(raw) - ops.relu(raw - 1.0)
        c = gate * state.c + (1.0 - gate) * value
        return ops.relu(c) - 0.1 * ops.relu(-c), c


class LayerNorm(Cell):
    """tanh of a sum that is normalised over the units."""

    name = "layer_norm"
    gates = ("h",)

    def step(self, ops, zx, state, own):
        return (ops.tanh(ops.normalise(zx + ops.product("hh", state.h))),)


class Inner(Cell):
    """A product of a value that the step computes, a second one, and a vector."""

    name = "inner"
    gates = ("r", "n")
    products = (Product("hh", ("r",)), Product("hn", ("n",), bias=False))
    vectors = ("peephole",)

    def step(self, ops, zx, state, own):
        z_r, z_n = ops.split(zx, 2)
        r = ops.sigmoid(z_r + ops.product("hh", state.h) + own.peephole * state.h)
        return (0.5 * state.h + 0.5 * ops.tanh(z_n + ops.product("hn", r * state.h)),)


class Steep(Cell):
    """A gate that is almost a switch: no finite difference has a step short enough for it."""

    name = "steep"
    gates = ("z", "h")
    slope = 3000.0

    def step(self, ops, zx, state, own):
        z, value = ops.split(zx + ops.product("hh", state.h), 2)
        return (state.h + ops.sigmoid(self.slope * z) * (value - state.h),)


class Steeper(Steep):
    name = "steeper"
    slope = 1e7


class Inverse(Cell):
    """Infinite where its input is zero."""

    name = "inverse"
    gates = ("h",)

    def step(self, ops, zx, state, own):
        return (1.0 / (zx + ops.product("hh", state.h)),)


class Residual(Cell):
    name = "residual"
    gates = ("h",)
    products = ()

    def step(self, ops, zx, state, own):
        return (0.9 * state.h + ops.relu(zx),)


HONEST = [
    *harness_cells(),
    Leaky(),
    Exponential(),
    StatedLSTM(),
    Kinked(),
    LayerNorm(),
    Inner(),
    Steep(),
    Steeper(),
    Inverse(),
    Residual(),
]


@pytest.mark.parametrize(("hidden", "batch"), [(4, 1), (12, 7), (36, 3), (256, 40)])
@pytest.mark.parametrize("cell", HONEST, ids=lambda cell: cell.name)
def test_a_cell_whose_gradient_is_right_is_proven(cell, hidden, batch):
    prove(cell, LABEL, hidden, batch)


@pytest.mark.parametrize(
    "cell", [Leaky(), Inner(), LSTM(), GRU(), MinLSTM(), ReluRNN()], ids=lambda cell: cell.name
)
def test_one_unit_and_one_sequence_are_enough(cell):
    prove(cell, LABEL, 1, 1)


def test_a_cell_is_proven_once_for_each_shape():
    class Counting(Leaky):
        calls = 0

        def step(self, ops, zx, zh, state):
            Counting.calls += 1
            return super().step(ops, zx, zh, state)

    cell, counts = Counting(), []
    for hidden in (4, 4, 5):
        prove(cell, LABEL, hidden, 2)
        counts.append(Counting.calls)
    assert 0 < counts[0] == counts[1] < counts[2] < 2 * counts[0]


def of(base, change):
    """Return a cell that applies ``change`` to its correct (d_zx, d_zh, d_state)."""

    class Wrong(base):
        def step_gradient(self, *arguments):
            return change(super().step_gradient(*arguments), *arguments)

    return Wrong()


def flipped(stated, ops, *_):
    d_i, d_f, d_g, d_o = ops.split(stated[0], 4)
    d_z = ops.concatenate([d_i, -d_f, d_g, d_o])
    return d_z, d_z, stated[2]


def ignores_the_second(_, ops, zx, zh, state, new_state, d_new):
    d_new = (d_new[0], 0.0 * d_new[1])
    return StatedLSTM().step_gradient(ops, zx, zh, state, new_state, d_new)


class BorrowedGradient(LayerNorm):
    """Normalised, with the gradient of the plain RNN."""

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        d_z = d_new_state[0] * (1.0 - new_state[0] * new_state[0])
        return d_z, d_z, (0.0,)


class Ages(Leaky):
    """Another function at every call."""

    calls = 0

    def step(self, ops, zx, zh, state):
        self.calls += 1
        return (super().step(ops, zx, zh, state)[0] + 0.001 * self.calls,)


class Random(Leaky):
    def step(self, ops, zx, zh, state):
        noise = float(np.random.default_rng().normal())
        return (super().step(ops, zx, zh, state)[0] + 0.01 * noise,)


class InPlace(Leaky):
    def step(self, ops, zx, zh, state):
        zx += zh
        return (0.5 * state[0] + 0.5 * ops.tanh(zx),)


class SecretlyMixes(Leaky):
    """Its trace is the step of one sequence; on arrays it sees the whole batch."""

    def step(self, ops, zx, zh, state):
        shift = zx.mean(0) if isinstance(zx, np.ndarray) else 0.0
        return super().step(ops, zx - shift, zh, state)


class AnotherOnArrays(Leaky):
    def step(self, ops, zx, zh, state):
        slope = 1.001 if isinstance(zx, np.ndarray) else 1.0
        return (slope * super().step(ops, zx, zh, state)[0],)


class Root(Cell):
    """The gate of an RG-LRU: where sigmoid rounds to 1, the slope of the root is infinite."""

    name, gates, products = "root", ("a", "b"), ()

    def step(self, ops, zx, state, own):
        a, b = ops.split(zx, 2)
        a = ops.sigmoid(a)
        return (a * state.h + ops.sqrt(1.0 - a * a) * b,)


NOT_ITS_GRADIENT = "of step_gradient is not the gradient of step: it differs by"
WRONG = {
    "flipped sign": (of(StatedLSTM, flipped), f"d_zx {NOT_ITS_GRADIENT}"),
    "d_zh": (
        of(Leaky, lambda stated, *_: (stated[0], stated[1] * 0.999, stated[2])),
        f"d_product hh {NOT_ITS_GRADIENT}",
    ),
    "second state": (
        of(StatedLSTM, lambda stated, *_: (*stated[:2], (0.0, stated[2][1] * 1.001))),
        f"d_state c {NOT_ITS_GRADIENT}",
    ),
    "no path where one is": (
        of(Leaky, lambda stated, *_: (*stated[:2], (0.0,))),
        f"d_state h {NOT_ITS_GRADIENT}",
    ),
    "second cotangent": (of(StatedLSTM, ignores_the_second), f"d_zx {NOT_ITS_GRADIENT}"),
    "not a number": (
        of(StatedLSTM, lambda stated, *_: (stated[0] + float("nan"), *stated[1:])),
        f"d_zx {NOT_ITS_GRADIENT} nan",
    ),
    "no product, but its gradient": (
        of(Exponential, lambda stated, *_: (stated[0] * 1.1, stated[0], stated[2])),
        f"d_zx {NOT_ITS_GRADIENT}",
    ),
    "layer norm": (BorrowedGradient(), f"d_zx {NOT_ITS_GRADIENT}"),
    "calls": (Ages(), "new state h of step"),
    "random": (Random(), "new state h of step"),
    "in place": (InPlace(), "step changes its arguments in place"),
    "batch": (SecretlyMixes(), "new state h of step depends on the other sequences"),
    "another function on arrays": (
        AnotherOnArrays(),
        "of the derived gradient is .*Let step compute the same with arrays as with symbols",
    ),
    "root of a shut gate": (Root(), r"d_zx of the derived gradient is nan.*ops.sqrt\(x \+ 1e-6\)"),
}


@pytest.mark.parametrize(("cell", "words"), WRONG.values(), ids=WRONG)
def test_a_cell_whose_gradient_is_wrong_is_no_reference(cell, words):
    with pytest.raises(ParityError, match=words) as caught:
        prove(cell, LABEL, 12, 20)
    assert str(caught.value).startswith(LABEL)


@pytest.mark.parametrize("size", [1e-4, 1.0, -2.0])
@pytest.mark.parametrize("tensor", range(4))
def test_every_tensor_and_every_size_of_error_is_seen(tensor, size):
    def wrong(stated, *_):
        d_zx, d_zh, (_, d_c) = stated
        parts = [d_zx, d_zh, 0.0 * d_c, d_c]
        parts[tensor] = parts[tensor] * (1 + size) + (size * d_c if tensor == 2 else 0.0)
        return parts[0], parts[1], tuple(parts[2:])

    name = ("d_zx", "d_product hh", "d_state h", "d_state c")[tensor]
    with pytest.raises(ParityError, match=f"{name} {NOT_ITS_GRADIENT} {NUMBERS}"):
        prove(of(StatedLSTM, wrong), LABEL, 6, 3)


class TooFew(LSTM):
    def step(self, ops, zx, state, own):
        return super().step(ops, zx, state, own)[:1]


class NoTuple(Leaky):
    def step(self, ops, zx, zh, state):
        return super().step(ops, zx, zh, state)[0]


class UnknownOperation(Leaky):
    def step(self, ops, zx, zh, state):
        return (ops.erf(zx + zh),)


class WrongType(Leaky):
    def step(self, ops, zx, zh, state):
        return (ops.tanh(zx) + None,)


class Mixes(Leaky):
    def step(self, ops, zx, zh, state):
        return super().step(ops, zx - zx.mean(0), zh, state)


class NotFinite(Leaky):
    def step(self, ops, zx, zh, state):
        return (super().step(ops, zx, zh, state)[0] / 0.0,)


class WrongGradientShape(StatedLSTM):
    def step_gradient(self, *arguments):
        d_zx, d_zh, (_, d_c) = super().step_gradient(*arguments)
        return d_zx, d_zh, (d_c[:1], d_c)


class Promotes(Leaky):
    def step(self, ops, zx, zh, state):
        return (super().step(ops, zx, zh, state)[0] * np.ones(1),)


HERE = rf"\({re.escape(__file__)}, line \d+: .*\)"
REFUSALS = {
    "states": (TooFew(), f"step must return a tuple of h, c, not 1 values {HERE}"),
    "tuple": (NoTuple(), f"step must return a tuple of h, not Symbol {HERE}"),
    "operation": (UnknownOperation(), f"there is no ops.erf: .*sigmoid.*{HERE}"),
    "type": (WrongType(), f"a NoneType cannot be part of a step: .*{HERE}"),
    "batch": (Mixes(), f"an attribute of an array .*use the functions of ops {HERE}"),
    "not finite": (NotFinite(), f"step raised ZeroDivisionError.*{HERE}"),
    "dtype": (Promotes(), f"a ndarray cannot be part of a step: use numbers .*{HERE}"),
}


def measured(plugins, cell, backend="numpy", variant="vectorised", **changes):
    """Return the record of a trial of this cell, which ``harness-mine 2.1`` offers as ``mine``."""
    cell.name = "mine"
    offered = Loaded("mine", "harness-mine 2.1", (("cell", "mine"),))
    plugins = replace(
        plugins, cells={**plugins.cells, "mine": cell}, loaded=(*plugins.loaded, offered)
    )
    sizes = {"length": 4, "hidden": 12, "batch": 5, "steps": 2}
    trial = Trial(backend=backend, variant=variant, task="adding", cell="mine", **(sizes | changes))
    return next(
        event.record for event in run_trial(trial, plugins=plugins) if isinstance(event, Finished)
    )


@pytest.fixture(scope="module")
def plugins():
    return load_plugins()


@pytest.mark.parametrize(("cell", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_mistake_of_a_cell_is_blamed_on_the_cell_with_the_line(cell, words, plugins):
    record = measured(plugins, cell)
    assert record.status == "unsupported"
    assert re.match(f"cell 'mine': {words}", record.reason), record.reason
    assert "backend" not in record.reason


def test_a_stated_gradient_of_a_wrong_shape_is_blamed_on_the_cell(plugins):
    record = measured(plugins, WrongGradientShape())
    assert record.status == "failed"
    assert record.reason.startswith(f"{LABEL}: d_state h of step_gradient must be an array")


BAD = {name: WRONG[name][0] for name in ("flipped sign", "layer norm", "in place")}


def test_no_engine_publishes_a_cell_that_is_not_proven(plugins):
    tried = set()
    for name, backend in plugins.backends.items():
        if isinstance(query.available_or_missing(backend), Missing):
            continue
        for cell in BAD.values():
            for variant in query.variants(backend, cell):
                record = measured(plugins, cell, name, variant)
                assert (record.status, record.reason[: len(LABEL)]) == ("parity_failed", LABEL), (
                    name,
                    variant,
                )
                tried.add(f"{name}:{variant}")
    assert {"numpy:vectorised", "numpy:loop"} <= tried


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_cell_that_is_proven_is_measured(dtype, plugins):
    assert measured(plugins, LayerNorm(), dtype=dtype).status == "ok"
    assert measured(plugins, Residual(), dtype=dtype).status == "ok"
