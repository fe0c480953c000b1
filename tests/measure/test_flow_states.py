"""The gradient flow of the whole state, on engines that give h and c, or h alone."""

from dataclasses import replace

import numpy as np
import pytest

from harness.cells import LSTM
from harness.cells.operations import LayerOps
from harness.contract import (
    Batch,
    Execution,
    Gradients,
    Inputs,
    Model,
    Optimizer,
    PluginError,
    Trial,
)
from harness.measure import setup as setups
from harness.measure.proof.flow import measure_flow
from harness.measure.proof.initialise import initial_parameters
from harness.measure.runner import run_trial
from harness.measure.setup import prepare
from harness.measure.whole_state import TOLERANCE, WholeState, _difference
from harness.plugins import load_plugins
from harness.recurrence import step_of
from harness_numpy import NumpyBackend

pytestmark = pytest.mark.slow

T, B, H = 7, 3, 4
NAMES = ("h", "c")
VARIANTS = [("vectorised", "off"), ("loop", "off"), ("vectorised", 3), ("loop", 2)]


def network(layers=2):
    model = Model(LSTM(), Inputs("real", 2), H, layers, 1, "squared_error")
    parameters = initial_parameters(model, 0)
    rng = np.random.default_rng(0)
    mask = np.zeros((T, B), bool)
    mask[[T - 1, 4, 6], [0, 1, 2]] = True
    return model, parameters, Batch(rng.random((T, B, 2)), rng.random((T, B, 1)), mask)


def gradients(model, parameters, batch, variant="vectorised", checkpoint="off"):
    execution = Execution(variant, dtype="float64", checkpoint=checkpoint)
    trainer = NumpyBackend().trainer(model, Optimizer(), parameters, execution)
    return trainer.gradients(trainer.put(batch))


@pytest.mark.parametrize(("variant", "checkpoint"), VARIANTS)
def test_the_gradient_of_each_state_is_that_of_autograd(variant, checkpoint):
    torch = pytest.importorskip("torch")
    model, parameters, batch = network()
    p = {name: torch.tensor(value) for name, value in parameters.items()}
    x = torch.tensor(batch.inputs)
    found = np.zeros((2, model.layers, T, B, H))
    kept = {}
    for layer in range(model.layers):
        h = c = torch.zeros(B, H, dtype=torch.float64)
        outputs = []
        for t in range(T):
            z = x[t] @ p[f"weight_ih_l{layer}"].T + p[f"bias_ih_l{layer}"]
            z = z + h @ p[f"weight_hh_l{layer}"].T + p[f"bias_hh_l{layer}"]
            i, f, g, o = z.chunk(4, dim=1)
            inner = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h, c = (
                torch.sigmoid(o) * torch.tanh(inner),
                inner + 0.0,
            )  # c is what is carried, and nothing else
            for state, value in enumerate((h, c)):
                value.requires_grad_()
                value.retain_grad()
                kept[state, layer, t] = value
            outputs.append(h)
        x = torch.stack(outputs)
    read = x @ p["weight_out"].T + p["bias_out"]
    mask = torch.tensor(batch.mask)
    loss = ((read - torch.tensor(batch.targets)) ** 2)[mask].mean()
    loss.backward()
    for place, value in kept.items():
        found[place] = 0.0 if value.grad is None else value.grad
    given = gradients(model, parameters, batch, variant, checkpoint)
    assert given.loss == pytest.approx(loss.item())
    np.testing.assert_allclose(np.array(given.states), found, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(given.states[0], given.hidden)


@pytest.mark.parametrize("variant", ["vectorised", "loop"])
def test_the_gradient_of_each_state_is_that_of_finite_differences(variant):
    model, parameters, batch = network(layers=1)
    zx = batch.inputs @ parameters["weight_ih_l0"].T + parameters["bias_ih_l0"]
    ops = LayerOps({name.removesuffix("_l0"): array for name, array in parameters.items()})
    step = step_of(model.cell)

    def loss(nudged=None, at=None, delta=0.0):
        state, hidden = (np.zeros((B, H)), np.zeros((B, H))), []
        for t in range(T):
            state = step(ops, zx[t], state, ())
            if nudged is not None and t == at[0]:
                state = tuple(part.copy() for part in state)
                state[nudged][at[1:]] += delta
            hidden.append(state[0])
        read = np.array(hidden) @ parameters["weight_out"].T + parameters["bias_out"]
        return np.mean(((read - batch.targets) ** 2)[batch.mask])

    states = gradients(model, parameters, batch, variant).states
    for nudged in range(2):
        for at in [(0, 0, 0), (2, 1, 3), (5, 0, 1), (T - 1, 0, 2), (T - 1, 2, 0)]:
            expected = (loss(nudged, at, 1e-6) - loss(nudged, at, -1e-6)) / 2e-6
            assert states[nudged][0][at] == pytest.approx(expected, abs=1e-9)


class Alone:
    """A trainer of an older contract: it gives the gradient of h alone, times ``factor``."""

    def __init__(self, trainer, factor=1.0):
        self.trainer, self.factor = trainer, factor
        self.put, self.parameters = trainer.put, trainer.parameters

    def gradients(self, batch):
        found = self.trainer.gradients(batch)
        return Gradients(found.loss, found.parameters, found.hidden * self.factor)


def prepared(**settings):
    plugins = load_plugins(("torch", "jax"))
    asked = {
        "backend": "numpy",
        "variant": "vectorised",
        "task": "adding",
        "cell": "lstm",
        "length": 60,
        "hidden": 16,
    }
    trial = Trial(**asked | {"layers": 2, "batch": 8} | settings)
    return prepare(trial, plugins, plugins.backend("numpy"), "backend 'numpy' from numpy 1.0")


@pytest.mark.parametrize(
    "settings", [{}, {"chrono": 60}, {"dtype": "float64"}, {"length": 400, "layers": 1}]
)
def test_an_engine_that_gives_h_alone_has_the_flow_of_the_whole_state(settings):
    setup = prepared(**settings)
    trainer, batch, flags = setup.trainer(), setup.flow_batch(), []
    whole = measure_flow(trainer, batch, NAMES)
    completed = measure_flow(Alone(trainer), batch, NAMES, WholeState(setup, flags))
    assert (completed.horizon, completed.censored, flags) == (whole.horizon, whole.censored, [])
    kept = whole.median > 1e-12 * whole.median[0]  # below it rounding to float32 is seen
    np.testing.assert_allclose(completed.median[kept], whole.median[kept], rtol=1e-3)
    for name in NAMES:
        strong = whole.states[name] > 1e-12 * whole.median[0]
        np.testing.assert_allclose(
            completed.states[name][strong], whole.states[name][strong], rtol=1e-3
        )


def test_layers_and_states_are_each_a_share_of_the_whole():
    hidden, cell = np.zeros((2, 1, 1, 1)), np.zeros((2, 1, 1, 1))
    hidden[:, 0, 0, 0], cell[:, 0, 0, 0] = [1, 2], [4, 10]
    both = type(
        "Both",
        (),
        {"put": lambda _, b: b, "gradients": lambda *_: Gradients(0, {}, hidden, (hidden, cell))},
    )
    flow = measure_flow(
        both(), Batch(np.zeros((1, 1, 1)), np.zeros((1, 1, 1)), np.ones((1, 1), bool)), NAMES
    )
    assert flow.median.tolist() == [11.0]
    assert flow.layers[:, 0] == pytest.approx([17**0.5, 104**0.5])
    assert {name: one[0] for name, one in flow.states.items()} == pytest.approx(
        {"h": 5**0.5, "c": 116**0.5}
    )
    assert flow.to_json()["states"].keys() == {"h", "c"}


def test_the_norm_of_a_matrix_is_over_all_its_elements():
    hidden, matrix = np.zeros((1, 1, 1, 2)), np.array([[3.0, 0.0], [4.0, 12.0]])
    states = hidden, matrix.reshape(1, 1, 1, 2, 2)
    trainer = type(
        "Both",
        (),
        {"put": lambda _, b: b, "gradients": lambda *_: Gradients(0, {}, hidden, states)},
    )()
    batch = Batch(np.zeros((1, 1, 1)), np.zeros((1, 1, 1)), np.ones((1, 1), bool))
    assert measure_flow(trainer, batch, ("h", "S")).states["S"].tolist() == [13.0]


def test_states_of_another_number_or_shape_are_refused():
    hidden = np.zeros((1, T, B, H))
    batch = network()[2]
    wide = np.zeros((*hidden.shape, H + 1))
    for states in [(hidden,), (hidden, hidden[:, 1:]), (hidden,) * 3, (hidden, wide)]:
        odd = type(
            "Odd",
            (),
            {"put": lambda _, b: b, "gradients": lambda *_, s=states: Gradients(0, {}, hidden, s)},
        )
        with pytest.raises(PluginError, match="one array for each of h, c"):
            measure_flow(odd(), batch, NAMES)


def test_a_gradient_of_h_that_is_not_the_references_is_flagged():
    setup, flags = prepared(), []
    measure_flow(Alone(setup.trainer(), 1.1), setup.flow_batch(), NAMES, WholeState(setup, flags))
    (flag,) = flags
    assert "dL/dh is off by a factor of 1.1 against the float64 reference; " in flag
    assert "; backend 'numpy' from numpy 1.0" in flag


def test_a_difference_that_rounding_explains_is_not_flagged():
    setup, flags = prepared(length=300, layers=1), []
    parameters = {
        name: value * (30 if name.startswith("weight_hh") else 1)
        for name, value in setup.parameters.items()
    }
    setup = replace(setup, parameters=parameters)
    trainer, batch = setup.trainer(), setup.flow_batch()
    scored = batch.last_scored()
    exact, own = setup.exact_trainer(parameters), trainer.gradients(trainer.put(scored))
    curves = [measure_flow(one, batch, NAMES).states["h"] for one in (trainer, exact)]
    assert _difference(*curves) > TOLERANCE  # the network is chaotic
    WholeState(setup, flags)(own.hidden, scored, trainer.parameters())
    assert flags == []


def test_the_flow_of_several_states_is_read_off_fewer_sequences_where_the_reference_would_take_long(
    monkeypatch,
):
    setup = prepared()
    assert setup.flow_batch().size == 8
    monkeypatch.setattr(setups, "FLOW_OPERATIONS", 1)
    assert setup.flow_batch().size == setups.FEWEST
    assert prepared(cell="rnn").flow_batch().size == 8


@pytest.mark.parametrize(
    "engine", ["numpy:vectorised", "numpy:loop", "numpy:native", "torch:library", "jax:scan"]
)
def test_an_lstm_with_chrono_initialisation_reaches_back_on_every_engine(engine):
    backend, variant = engine.split(":")
    plugins = load_plugins()
    if backend not in plugins.backends or variant not in plugins.backend(backend).variants(LSTM()):
        pytest.skip(f"{engine} cannot run here")
    trial = Trial(backend=backend, variant=variant, task="adding", cell="lstm",
                  length=100, hidden=8, batch=4, chrono=100, steps=1)  # fmt: skip
    *_, last = run_trial(trial, plugins=plugins)
    record = last.record
    assert (record.status, record.figures["gradient_horizon"]) == ("ok", 100)
    assert (
        record.details["gradient_horizon_censored"],
        record.details["gradient_horizon_step"],
    ) == (True, 1)
    flow = record.curves["gradient_flow"]
    for moment in ("initial", "final"):
        assert flow[moment]["states"].keys() == {"h", "c"}
        assert (
            min(flow[moment]["states"]["h"]) < 0.01 * flow[moment]["median"][0]
        )  # h alone would vanish
    assert not [flag for flag in record.details["flags"] if "gradient flow" in flag]
