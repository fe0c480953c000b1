"""The stepper: states against the reference engine, Jacobians against torch and differences."""

from dataclasses import replace

import numpy as np
import pytest

from harness.cells import LSTM, RNN
from harness.contract import Batch, Execution, Inputs, Model, Optimizer
from harness.plugins import load_plugins
from harness.probing.stepper import DerivedStepper

PLUGINS = load_plugins()
CELLS = sorted(PLUGINS.cells)
B, D, H, LAYERS = 3, 2, 4, 2


def model_of(cell, kind="real"):
    return Model(cell, Inputs(kind, D), H, LAYERS, 3, "cross_entropy")


def weights_of(model):
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=shape) * 0.5 for name, shape in model.parameter_shapes().items()}


def state_of(model, seed=2):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=shape) * 0.5 for shape in model.state_shapes(B))


@pytest.mark.parametrize("name", [*CELLS, "embedded"])
def test_outputs_are_those_of_the_reference_with_the_state_carried(name):
    model = model_of(PLUGINS.cell("rnn" if name == "embedded" else name), "token")
    if name == "embedded":
        model = replace(model, outputs=D, embedding=H, tied_readout=True)
    weights, rng = weights_of(model), np.random.default_rng(3)
    reference = PLUGINS.backend("numpy")
    execution = Execution(reference.variants(model.cell)[0], dtype="float64")
    trainer = reference.trainer(model, Optimizer("sgd", learning_rate=0.1), weights, execution)
    stepper, state = DerivedStepper(model, weights), None
    for carry in (False, True):
        inputs = rng.integers(D, size=(5, B), dtype=np.int32)
        batch = Batch(inputs, np.zeros_like(inputs), np.ones(inputs.shape, bool), carry)
        expected = trainer.outputs(trainer.put(batch))
        states = list(stepper.run(inputs, state))
        state = states[-1]
        np.testing.assert_allclose([stepper.outputs(each) for each in states], expected, atol=1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_a_pulled_back_vector_is_that_of_central_differences(name):
    model = model_of(PLUGINS.cell(name))
    stepper, rng, step = DerivedStepper(model, weights_of(model)), np.random.default_rng(4), 1e-6
    inputs, state, cotangent = rng.normal(size=(1, B, D)), state_of(model), state_of(model, 5)
    direction = state_of(model, 6)

    def product(sign):
        moved = tuple(
            part + sign * step * along for part, along in zip(state, direction, strict=True)
        )
        (new,) = stepper.run(inputs, moved)
        return sum((part * v).sum() for part, v in zip(new, cotangent, strict=True))

    pulled = stepper.pull_back(inputs[0], state, cotangent)
    actual = sum((part * along).sum() for part, along in zip(pulled, direction, strict=True))
    assert actual == pytest.approx((product(1) - product(-1)) / (2 * step), rel=1e-6)


@pytest.mark.parametrize("cell", [RNN(), LSTM()])
def test_jacobians_are_those_of_torch_layers(cell):
    torch = pytest.importorskip("torch")
    model = model_of(cell)
    weights, state = weights_of(model), state_of(model)
    kind = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM}[cell.name]
    layer = kind(D, H, LAYERS).double()
    layer.load_state_dict(
        {name: torch.tensor(weights[name]) for name in layer.state_dict()}, strict=True
    )
    inputs = torch.randn(1, 1, D, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def new_state(flat):
        parts = [part.reshape(LAYERS, 1, H) for part in flat.chunk(len(cell.states))]
        _, final = layer(inputs, tuple(parts) if len(parts) > 1 else parts[0])
        return torch.cat([part.flatten() for part in (final if len(parts) > 1 else (final,))])

    first = [part[:, :1] for part in state]
    flat = torch.tensor(np.concatenate([part.ravel() for part in first]))
    expected = torch.autograd.functional.jacobian(new_state, flat).numpy()
    stepper, rows = DerivedStepper(model, weights), []
    for row in np.eye(len(flat)):
        parts = np.split(row, len(cell.states))
        cotangent = tuple(part.reshape(LAYERS, 1, H) for part in parts)
        pulled = stepper.pull_back(inputs[0].numpy(), tuple(first), cotangent)
        rows.append(np.concatenate([part.ravel() for part in pulled]))
    np.testing.assert_allclose(rows, expected, atol=1e-8)
