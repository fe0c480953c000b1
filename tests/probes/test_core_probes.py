"""The probes of the harness on networks whose figures are known in closed form."""

import numpy as np
import pytest

from builders import trial_of
from harness.cells import RNN
from harness.contract import Batch, Cell, Inputs, Model
from harness.contract.probes import Findings, Probe, TrainedNetwork
from harness.measure.setup import prepared_task
from harness.plugins import load_plugins
from harness.probes import LatentMemory, LinearMemory, Lyapunov, Spectrum
from harness.probing.stepper import DerivedStepper
from harness.testing import checks_for_probe, run_check

N = 10
PLUGINS = load_plugins()
RNG = np.random.default_rng(0)
ORTHOGONAL = np.linalg.qr(RNG.normal(size=(N, N)))[0]
INTO_ALL = RNG.normal(size=(N, 1))
DELAY = {"weight_hh_l0": np.eye(N, k=-1), "weight_ih_l0": np.eye(N, 1)}


class Linear(Cell):
    name, gates = "linear", ("h",)

    def step(self, ops, zx, state, own):
        return (zx + ops.product("hh", state.h),)


class Silent:
    """A task that states no latent."""

    def latent(self, batch):
        return None


def network_of(cell, weights, inputs, *, layers=1, task=None, batches=(), kind="real"):
    size = inputs.shape[-1] if kind == "real" else 2
    model = Model(cell, Inputs(kind, size), N, layers, 1, "squared_error")
    parameters = {name: np.zeros(shape) for name, shape in model.parameter_shapes().items()}
    parameters |= weights
    batches = batches or [Batch(inputs, inputs, np.ones(inputs.shape[:2], bool))]
    stepper = DerivedStepper(model, parameters)
    return TrainedNetwork(model, parameters, task or Silent(), batches, stepper)


def independent(steps=60, sequences=400, width=1):
    return np.random.default_rng(1).uniform(-1, 1, size=(steps, sequences, width))


def capacity(network):
    return LinearMemory().measure(network).figures["capacity"]


def test_a_delay_line_keeps_as_many_inputs_as_it_has_units():
    findings = LinearMemory().measure(network_of(Linear(), DELAY, independent()))
    assert findings.figures["capacity"] == pytest.approx(N, rel=0.01)
    assert findings.figures["reach_steps"] == N
    kept = findings.curves["kept"].values
    assert min(kept[:N]) > 0.99
    assert max(kept[N:]) < 0.01


def test_a_network_without_recurrence_keeps_one_input():
    weights = {"weight_ih_l0": INTO_ALL}
    assert capacity(network_of(Linear(), weights, independent())) == pytest.approx(1, rel=0.01)


@pytest.mark.slow
def test_an_orthogonal_linear_network_approaches_a_capacity_of_its_units():
    by_scale = {
        scale: capacity(
            network_of(
                Linear(),
                {"weight_hh_l0": scale * ORTHOGONAL, "weight_ih_l0": INTO_ALL},
                independent(130, 150),
            )
        )
        for scale in (0.0, 0.6, 0.9)
    }
    assert by_scale[0.0] == pytest.approx(1, rel=0.01)
    assert by_scale[0.9] == pytest.approx(N, rel=0.01)
    assert by_scale[0.0] < by_scale[0.6] < 1.01 * N


def test_symbols_count_what_the_current_symbol_does_not_tell():
    # Bits: the delay line keeps N of them. A constant symbol tells nothing, so nothing is kept.
    bits = np.random.default_rng(2).integers(2, size=(60, 400), dtype=np.int32)
    weights = {"weight_hh_l0": np.eye(N, k=-1), "weight_ih_l0": np.eye(N, 2, k=1)}
    kept = capacity(network_of(Linear(), weights, bits, kind="token"))
    assert kept == pytest.approx(N, rel=0.01)
    assert capacity(network_of(Linear(), weights, 0 * bits, kind="token")) == 0


def test_a_state_that_windows_of_a_stream_carry_is_read_as_one():
    # Windows of 5 steps: a line of 10 units keeps inputs of windows before, if the state goes on.
    inputs = independent(60, 300)
    windows = [
        Batch(part, part, np.ones(part.shape[:2], bool), carry=at > 0)
        for at, part in enumerate(np.split(inputs, 12))
    ]
    in_windows = network_of(Linear(), DELAY, inputs, batches=windows)
    in_one = network_of(Linear(), DELAY, inputs)
    assert LinearMemory().measure(in_windows).figures["lags_steps"] == 45
    assert capacity(in_windows) == pytest.approx(capacity(in_one), rel=0.01)


def test_steps_after_the_last_scored_one_do_not_count():
    inputs = independent()
    mask = np.zeros(inputs.shape[:2], bool)
    mask[49] = True
    inputs[50:] = np.nan  # would spoil any figure
    network = network_of(Linear(), DELAY, inputs, batches=[Batch(inputs, inputs, mask)])
    assert capacity(network) == pytest.approx(N, rel=0.01)


@pytest.mark.parametrize("scale", [0.5, 0.97, 1.02])
def test_exponents_of_a_scaled_orthogonal_network_are_the_logarithm_of_the_scale(scale):
    weights = {"weight_hh_l0": scale * ORTHOGONAL, "weight_ih_l0": INTO_ALL}
    findings = Lyapunov().measure(network_of(Linear(), weights, independent(40, 4)))
    assert findings.figures["exponent_per_step"] == pytest.approx(np.log(scale), abs=1e-6)
    exponents = findings.curves["exponents_per_step"].values
    np.testing.assert_allclose(exponents, np.log(scale), atol=1e-6)
    horizon = findings.figures["horizon_steps"]
    if scale < 1:
        assert horizon == pytest.approx(np.log(100) / -np.log(scale), rel=1e-6)
    else:
        assert horizon is None


def test_exponents_of_stacked_tanh_layers_are_those_of_their_whole_jacobians():
    # Over many steps the product of explicit Jacobians has singular values whose logarithm per step
    # is the exponent: here the first, by the power method in plain NumPy.
    rng, layers = np.random.default_rng(3), 2
    inputs = independent(400, 1)
    # One eigenvalue is well above the others, so that one vector is enough.
    weights = {
        f"weight_hh_l{n}": 0.2 * rng.normal(size=(N, N)) / np.sqrt(N) + 0.8 / N
        for n in range(layers)
    }
    weights |= {"weight_ih_l0": INTO_ALL, "weight_ih_l1": rng.normal(size=(N, N)) / np.sqrt(N)}
    low, high, jacobians = np.zeros(N), np.zeros(N), []
    for x in inputs[:, 0]:
        low = np.tanh(weights["weight_ih_l0"] @ x + weights["weight_hh_l0"] @ low)
        high = np.tanh(weights["weight_ih_l1"] @ low + weights["weight_hh_l1"] @ high)
        of_low = (1 - low**2)[:, None] * weights["weight_hh_l0"]
        slope = (1 - high**2)[:, None]
        jacobians.append(
            np.block(
                [
                    [of_low, np.zeros((N, N))],
                    [slope * weights["weight_ih_l1"] @ of_low, slope * weights["weight_hh_l1"]],
                ]
            )
        )
    vector, growth = np.ones(2 * N) / np.sqrt(2 * N), []
    for jacobian in reversed(jacobians):
        vector = jacobian.T @ vector
        growth.append(np.log(np.linalg.norm(vector)))
        vector /= np.linalg.norm(vector)
    findings = Lyapunov().measure(network_of(RNN(), weights, inputs, layers=layers))
    assert findings.figures["exponent_per_step"] == pytest.approx(np.mean(growth[100:]), abs=1e-6)
    assert findings.figures["exponent_error_per_step"] is None


def test_no_gradient_crosses_a_step_of_a_network_without_recurrence():
    network = network_of(Linear(), {"weight_ih_l0": INTO_ALL}, independent(9, 2))
    findings = Lyapunov().measure(network)
    assert set(findings.figures.values()) == {None}


def test_radius_and_norm_are_those_of_the_recurrent_matrix():
    shear = np.eye(N) * 0.5
    shear[0, 1] = 3.0
    findings = Spectrum().measure(network_of(RNN(), {"weight_hh_l0": shear}, independent(2, 2)))
    assert findings.figures["radius"] == pytest.approx(0.5)
    assert findings.figures["norm"] == pytest.approx(np.linalg.svd(shear)[1][0])
    mingru = network_of(PLUGINS.cell("mingru"), {}, independent(2, 2))
    assert set(Spectrum().measure(mingru).figures.values()) == {None}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("parity", {"targets": "last"}),
        ("word_problem", {}),
        ("dyck", {}),
        ("counting", {}),
        ("counting", {"language": "anbncn"}),
        ("adding", {}),
        ("adding", {"variant": "hs97"}),
    ],
)
def test_the_latent_of_a_task_is_what_its_targets_follow_from(name, options):
    task = prepared_task(trial_of(task=name, length=24, task_options=options), PLUGINS)
    batch = task.draw(np.random.default_rng(0), 50)
    latent, last = task.latent(batch), np.argmax(np.cumsum(batch.mask, axis=0), axis=0)
    columns = np.arange(batch.size)
    assert latent.shape == batch.mask.shape
    if name in {"parity", "word_problem"}:
        assert (latent[batch.mask] == batch.targets[batch.mask]).all()
    elif name == "dyck":  # a bracket may close if one is open, and open below the largest depth
        kinds = task.options.kinds
        assert ((latent > 0) == (batch.targets[..., kinds:].sum(-1) > 0)).all()
        assert ((latent < task.options.depth) == (batch.targets[..., 0] > 0)).all()
    elif name == "counting":  # after the last letter nothing is left
        assert (latent[last, columns] == 0).all()
        assert np.isnan(latent[~batch.mask]).all()
    else:
        total = (batch.targets[last, columns, 0] - task.form.offset) / task.form.scale
        np.testing.assert_allclose(latent[last, columns], total, atol=1e-12)


def test_a_latent_is_decoded_from_a_state_that_holds_it_and_not_from_the_input():
    # The sum of all inputs so far is the state of one unit that adds them up.
    class Sum:
        def latent(self, batch):
            return np.cumsum(batch.inputs[..., 0], axis=0)

    inputs, weights = independent(), {"weight_ih_l0": np.eye(N, 1), "weight_hh_l0": np.eye(N)}
    figures = LatentMemory().measure(network_of(Linear(), weights, inputs, task=Sum())).figures
    assert figures["r2"] > 0.999
    assert figures["chance_r2"] < 0.1
    nothing = LatentMemory().measure(network_of(Linear(), weights, inputs)).figures
    assert set(nothing.values()) == {None}


class Unsteady(Probe):
    name, figures = "unsteady", {"calls": "how often it was asked"}
    calls = 0

    def measure(self, network):
        self.calls += 1
        network.parameters["bias_out"] += 1.0
        return Findings({"calls": self.calls})


class Undeclared(Probe):
    name, figures = "undeclared", {"value": "a value"}

    def measure(self, network):
        return Findings({"value": np.inf, "other": 1.0})


@pytest.mark.parametrize("probe", PLUGINS.probes.values(), ids=lambda probe: probe.name)
def test_the_probes_of_the_harness_conform(probe):
    results = [run_check(check) for check in checks_for_probe(probe, PLUGINS)]
    assert [result.message for result in results if not result.passed] == []


@pytest.mark.parametrize(
    ("probe", "message"),
    [(Unsteady(), "two calls give different figures"), (Undeclared(), "other is not in figures")],
)
def test_the_kit_catches_a_bad_probe(probe, message):
    results = [run_check(check) for check in checks_for_probe(probe, PLUGINS)]
    messages = [result.message for result in results if not result.passed]
    assert len(messages) >= 6
    assert any(message in each for each in messages)
