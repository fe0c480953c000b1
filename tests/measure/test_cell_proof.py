"""No cell is a reference before its gradient is proven; errors blame the cell."""

import re
from dataclasses import replace

import numpy as np
import pytest

from harness.cells import GRU, LSTM, RNN, MinGRU, MinLSTM, ReluRNN, harness_cells
from harness.contract import Cell, Missing, Trial, UnsupportedError
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
    name = "leaky"
    gates = ("h",)

    def step(self, ops, zx, zh, state):
        return (0.5 * state[0] + 0.5 * ops.tanh(zx + zh),)

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        a, d_h = ops.tanh(zx + zh), d_new_state[0]
        d_z = 0.5 * d_h * (1.0 - a * a)
        return d_z, d_z, (0.5 * d_h,)


class Kinked(Cell):
    """Hard sigmoid gate and a clipped state: kinks in all arguments."""

    name = "kinked"
    gates = ("f", "h")
    states = ("h", "c")

    def parts(self, ops, zx, zh, state):
        (x_f, x_h), (h_f, h_h) = ops.split(zx, 2), ops.split(zh, 2)
        raw = 0.2 * (x_f + h_f) + 0.5
        gate = ops.relu(raw) - ops.relu(raw - 1.0)
        inside = ops.positive(raw) - ops.positive(raw - 1.0)
        return gate, inside, x_h + h_h, gate * state[1] + (1.0 - gate) * (x_h + h_h)

    def step(self, ops, zx, zh, state):
        _, _, _, c = self.parts(ops, zx, zh, state)
        return ops.relu(c) - 0.1 * ops.relu(-c), c

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        gate, inside, value, c = self.parts(ops, zx, zh, state)
        d_c = d_new_state[1] + d_new_state[0] * (ops.positive(c) + 0.1 * ops.positive(-c))
        d_z = ops.concatenate([d_c * (state[1] - value) * 0.2 * inside, d_c * (1.0 - gate)])
        return d_z, d_z, (0.0, d_c * gate)


class LayerNorm(RNN):
    """tanh of a sum that is normalised over the units, with its own gradient."""

    name = "layer_norm"

    def normal(self, z):
        centred = z - z.mean(-1, keepdims=True)
        scale = ((centred * centred).mean(-1, keepdims=True) + 1e-5) ** -0.5
        return centred * scale, scale

    def step(self, ops, zx, zh, state):
        return (ops.tanh(self.normal(zx + zh)[0]),)

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        normal, scale = self.normal(zx + zh)
        d = d_new_state[0] * (1.0 - new_state[0] * new_state[0])
        d_z = scale * (
            d - d.mean(-1, keepdims=True) - normal * (d * normal).mean(-1, keepdims=True)
        )
        return d_z, d_z, (0.0,)


class Exponential(Cell):
    """An input gate without a bound, as the sLSTM has it: 2.7e43 for a gate at 100."""

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


class FourHeads(Leaky):
    """Runs only where its units can be cut in four."""

    def step(self, ops, zx, zh, state):
        return (
            ops.concatenate([0.5 * h for h in ops.split(state[0], 4)]) + 0.5 * ops.tanh(zx + zh),
        )


class Steep(Cell):
    """A gate that is almost a switch: no finite difference has a step short enough for it."""

    name = "steep"
    gates = ("z", "h")
    slope = 3000.0

    def step(self, ops, zx, zh, state):
        z, value = ops.split(zx + zh, 2)
        return (state[0] + ops.sigmoid(self.slope * z) * (value - state[0]),)

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        (z, value), d = ops.split(zx + zh, 2), d_new_state[0]
        gate = ops.sigmoid(self.slope * z)
        d_z = ops.concatenate([self.slope * d * (value - state[0]) * gate * (1.0 - gate), d * gate])
        return d_z, d_z, (d * (1.0 - gate),)


class Steeper(Steep):
    name = "steeper"
    slope = 1e7


class Inverse(Cell):
    """Infinite where its input is zero."""

    name = "inverse"
    gates = ("h",)

    def step(self, ops, zx, zh, state):
        return (1.0 / (zx + zh),)

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        d_z = -d_new_state[0] / ((zx + zh) * (zx + zh))
        return d_z, d_z, (0.0,)


class Residual(Cell):
    name = "residual"
    gates = ("h",)
    products = ()

    def step(self, ops, zx, state, own):
        return (0.9 * state.h + ops.relu(zx),)


HONEST = [
    *harness_cells(),
    Leaky(),
    Kinked(),
    LayerNorm(),
    Exponential(),
    FourHeads(),
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
    "cell", [Leaky(), LSTM(), GRU(), MinLSTM(), ReluRNN()], ids=lambda cell: cell.name
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


def flipped(found, ops, *_):
    d_i, d_f, d_g, d_o = ops.split(found[0], 4)
    d_z = ops.concatenate([d_i, -d_f, d_g, d_o])
    return d_z, d_z, found[2]


def saturating(least):
    def wrong(found, ops, zx, zh, *_):
        flat = ops.positive((zx + zh) - least) + ops.positive(-(zx + zh) - least)
        return found[0] * (1.0 + flat), found[1] * (1.0 + flat), found[2]

    return wrong


def without_saturated(found, ops, zx, zh, *_):
    kept = 1.0 - ops.positive(zx + zh - 6.0) - ops.positive(-(zx + zh) - 6.0)
    return found[0] * kept, found[1] * kept, found[2]


def large_state(found, ops, zx, zh, state, *_):
    return *found[:2], (found[2][0], found[2][1] * (1.0 + ops.positive(state[1] - 20.0)))


def ignores_the_second(found, ops, zx, zh, state, new_state, d_new):
    return LSTM().step_gradient(ops, zx, zh, state, new_state, (d_new[0], 0.0 * d_new[1]))


def one_row(row):
    def wrong(found, ops, zx, *_):
        factor = np.ones_like(zx[:, :1])
        factor[row : row + 1] = 2.0
        return found[0] * factor, found[1] * factor, found[2]

    return wrong


def many_units(found, ops, zx, zh, state, *_):
    factor = 1.01 if state[0].shape[-1] > 8 else 1.0
    return found[0] * factor, found[1] * factor, found[2]


def large_batch(found, ops, zx, *_):
    factor = 1.01 if len(zx) == 20 else 1.0
    return found[0] * factor, found[1] * factor, found[2]


def single(found, ops, zx, *_):
    factor = 1.01 if zx.dtype == np.float32 else 1.0
    return found[0] * zx.dtype.type(factor), found[1], found[2]


def clipped_on_the_way(found, ops, zx, zh, state, new_state, d_new):
    return LSTM().step_gradient(
        ops, zx, zh, state, new_state, tuple(np.clip(d, -10.0, 10.0) for d in d_new)
    )


def nothing_for_little(found, ops, zx, zh, state, new_state, d_new):
    return LSTM().step_gradient(
        ops, zx, zh, state, new_state, tuple(d * (np.abs(d) > 1e-6) for d in d_new)
    )


def at_the_first_step(found, ops, zx, zh, state, *_):
    factor = 1.0 if np.any(state[0]) else 1.01
    return found[0] * factor, found[1] * factor, found[2]


def state_of_zero(found, ops, zx, zh, state, *_):
    factor = np.tile(np.where(state[0] == 0, 1.01, 1.0), 4)
    return found[0] * factor, found[1] * factor, found[2]


def blank_input(found, ops, zx, *_):
    return np.where(zx == 0, 1.01, 1.0) * found[0], *found[1:]


def not_a_number(found, *_):
    return found[0] + float("nan"), found[1], found[2]


class BorrowedGradient(LayerNorm):
    step_gradient = RNN.step_gradient


class Remembers(Leaky):
    """Its gradient is that of the last step taken, whichever step it is asked for."""

    def step(self, ops, zx, zh, state):
        self.kept = ops.tanh(zx + zh)
        return (0.5 * state[0] + 0.5 * self.kept,)

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        d_z = 0.5 * d_new_state[0] * (1.0 - self.kept * self.kept)
        return d_z, d_z, (0.5 * d_new_state[0],)


class Ages(Leaky):
    calls = 0

    def step(self, ops, zx, zh, state):
        self.calls += 1
        return (super().step(ops, zx, zh, state)[0] + 0.001 * self.calls,)


class InPlace(Leaky):
    def step(self, ops, zx, zh, state):
        zx += zh
        return (0.5 * state[0] + 0.5 * ops.tanh(zx),)


class Mixes(Leaky):
    def step(self, ops, zx, zh, state):
        return super().step(ops, zx - zx.mean(0), zh, state)


class NotFinite(Leaky):
    def step(self, ops, zx, zh, state):
        return (super().step(ops, zx, zh, state)[0] / 0.0,)


class ParallelOnly(MinGRU):
    """Right step by step, wrong where an engine takes all steps at once."""

    def coefficients_gradient(self, ops, zx, d_a, d_b):
        return super().coefficients_gradient(ops, zx, d_a, d_b) * 1.001

    def step_gradient(self, ops, zx, zh, state, new_state, d_new_state):
        return MinGRU().step_gradient(ops, zx, zh, state, new_state, d_new_state)


class AnotherStep(MinGRU):
    def step(self, ops, zx, zh, state):
        return (super().step(ops, zx, zh, state)[0] * 1.001,)


class OneStepOnly(MinGRU):
    def coefficients(self, ops, zx):
        a, b = super().coefficients(ops, zx)
        return a, b * (1.0 if zx.ndim == 2 else 1.001)


WRONG = {
    "flipped sign": (of(LSTM, flipped), "d_zx of step_gradient is off by"),
    "saturated at 3": (of(LSTM, saturating(3.0)), "d_zx of step_gradient"),
    "saturated at 10": (of(LSTM, saturating(10.0)), "d_zx of step_gradient"),
    "gru saturated at 15": (of(GRU, saturating(15.0)), "d_zx of step_gradient"),
    "nothing where saturated": (of(GRU, without_saturated), "d_zx of step_gradient"),
    "d_zh": (
        of(RNN, lambda found, *_: (found[0], found[1] * 0.999, found[2])),
        "d_zh of step_gradient",
    ),
    "second state": (
        of(LSTM, lambda found, *_: (*found[:2], (0.0, found[2][1] * 1.001))),
        "d_state c of step_gr",
    ),
    "large state": (of(LSTM, large_state), "d_state c of step_gradient"),
    "no path where one is": (
        of(GRU, lambda found, *_: (*found[:2], (0.0,))),
        "d_state h of step_gradient",
    ),
    "second cotangent": (of(LSTM, ignores_the_second), "d_zx of step_gradient"),
    "first sequence": (of(LSTM, one_row(0)), "d_zx of step_gradient"),
    "eighth sequence": (of(LSTM, one_row(7)), "d_zx of step_gradient"),
    "sixteenth sequence": (of(LSTM, one_row(15)), "d_zx of step_gradient"),
    "more than eight units": (of(LSTM, many_units), "d_zx of step_gradient"),
    "batch of the trial": (of(LSTM, large_batch), "d_zx of step_gradient"),
    "float32": (of(LSTM, single), "d_zx of step_gradient in float32"),
    "clipped on the way": (
        of(LSTM, clipped_on_the_way),
        "d_zx of step_gradient is not in proportion",
    ),
    "nothing for little": (
        of(LSTM, nothing_for_little),
        "d_zx of step_gradient is not in proportion",
    ),
    "first step": (
        of(LSTM, at_the_first_step),
        "d_zx of step_gradient depends on the other sequences",
    ),
    "state of zero": (of(LSTM, state_of_zero), "d_zx of step_gradient is off by"),
    "blank input": (of(LSTM, blank_input), "d_zx of step_gradient is off by"),
    "not a number": (of(LSTM, not_a_number), "d_zx of step_gradient is off by nan"),
    "layer norm": (BorrowedGradient(), "d_zx of step_gradient"),
    "state of its own": (Remembers(), "d_zx of step_gradient"),
    "calls": (Ages(), "new state h of step"),
    "in place": (InPlace(), "step changes its arguments in place"),
    "batch": (Mixes(), "new state h of step depends on the other sequences"),
    "step not finite": (NotFinite(), "step is not finite"),
    "coefficients": (ParallelOnly(), "d_zx of coefficients_gradient"),
    "another step": (AnotherStep(), r"new state h of step is not a \* h \+ b"),
    "one step": (OneStepOnly(), "b of coefficients differs between one time step"),
}


@pytest.mark.parametrize(("cell", "words"), WRONG.values(), ids=WRONG)
def test_a_cell_whose_gradient_is_wrong_is_no_reference(cell, words):
    with pytest.raises(ParityError, match=words) as caught:
        prove(cell, LABEL, 12, 20)
    assert str(caught.value).startswith(LABEL)


@pytest.mark.parametrize("size", [1e-4, 1.0, -2.0])
@pytest.mark.parametrize("tensor", range(4))
def test_every_tensor_and_every_size_of_error_is_seen(tensor, size):
    def wrong(found, *_):
        d_zx, d_zh, (_, d_c) = found
        parts = [d_zx, d_zh, 0.0 * d_c, d_c]
        parts[tensor] = parts[tensor] * (1 + size) + (size * d_c if tensor == 2 else 0.0)
        return parts[0], parts[1], tuple(parts[2:])

    name = ("d_zx", "d_zh", "d_state h", "d_state c")[tensor]
    with pytest.raises(ParityError, match=f"{name} of step_gradient is off by {NUMBERS}"):
        prove(of(LSTM, wrong), LABEL, 6, 3)


class WrongShape(Leaky):
    def step(self, ops, zx, zh, state):
        return (super().step(ops, zx, zh, state)[0][:, :-1],)


class TooFew(LSTM):
    def step(self, ops, zx, zh, state):
        return super().step(ops, zx, zh, state)[:1]


class NoTuple(Leaky):
    def step(self, ops, zx, zh, state):
        return super().step(ops, zx, zh, state)[0]


class UnknownOperation(Leaky):
    def step(self, ops, zx, zh, state):
        return (ops.softplus(zx + zh),)


class WrongType(Leaky):
    def step(self, ops, zx, zh, state):
        return (ops.tanh(zx) + None,)


class WrongGradientShape(LSTM):
    def step_gradient(self, *arguments):
        d_zx, d_zh, (_, d_c) = super().step_gradient(*arguments)
        return d_zx, d_zh, (d_c[:1], d_c)


class Promotes(Leaky):
    def step(self, ops, zx, zh, state):
        return (super().step(ops, zx, zh, state)[0] * np.ones(1),)


class PicksItsSizes(Leaky):
    def step(self, ops, zx, zh, state):
        if state[0].shape[-1] % 3:
            raise UnsupportedError("leaky needs a multiple of 3 units")
        return super().step(ops, zx, zh, state)


MISTAKES = {
    "shape": (
        WrongShape(),
        r"new state h of step must be an array \(\d+, \d+\) float64, got \(\d+, \d+\) float64",
    ),
    "states": (TooFew(), "step must return a tuple of new state h, new state c, got 1 values"),
    "tuple": (NoTuple(), "step must return a tuple of new state h, got ndarray"),
    "operation": (UnknownOperation(), "step raised AttributeError.*softplus"),
    "type": (WrongType(), "step raised TypeError"),
    "gradient": (WrongGradientShape(), "d_state h of step_gradient must be an array"),
    "dtype": (
        Promotes(),
        r"new state h of step must be an array \(4, 8\) float32, got \(4, 8\) float64",
    ),
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


@pytest.mark.parametrize(("cell", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_of_a_cell_is_blamed_on_the_cell(cell, words, plugins):
    record = measured(plugins, cell)
    assert record.status == "failed"
    assert re.match(f"{LABEL}: {words}", record.reason), record.reason
    assert "backend" not in record.reason


def test_a_cell_may_refuse_a_size(plugins):
    assert measured(plugins, PicksItsSizes()).status == "ok"
    record = measured(plugins, PicksItsSizes(), hidden=4)
    assert (record.status, record.reason) == ("unsupported", "leaky needs a multiple of 3 units")


BAD = {name: WRONG[name][0] for name in ("flipped sign", "nothing where saturated", "layer norm")}


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
