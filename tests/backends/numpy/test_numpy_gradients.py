"""The NumPy engine's gradients, in float64, against finite differences and against ``torch.nn``."""

import numpy as np
import pytest

import stated_cells
from differences import STEP, central_differences
from harness.cells import harness_cells
from harness.contract import Batch, Execution, Inputs, Model, Optimizer
from harness.testing.equations import Nudge, run_equations
from harness_numpy import NumpyBackend

T, B, D, H, K = 4, 3, 2, 3, 3
FINITE_DIFFERENCE_TOLERANCE = 1e-8  # central differences in float64 at this step
TORCH_TOLERANCE = 1e-10  # float64, another order of summation


CELLS = {cell.name: cell for cell in [*harness_cells(), *stated_cells.CELLS.values()]}
each_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
each_depth = pytest.mark.parametrize("layers", [1, 2])
each_kind = pytest.mark.parametrize("kind", ["token", "real"])


def model_of(cell, layers=1, kind="token", dropout=0.0):
    loss = "cross_entropy" if kind == "token" else "squared_error"
    return Model(cell, Inputs(kind, 5 if kind == "token" else D), H, layers, K, loss, dropout)


def batch_of(model, seed=1, steps=T, carry=False, scored=None):
    rng = np.random.default_rng(seed)
    token = model.inputs.kind == "token"
    inputs = (
        rng.integers(0, 5, (steps, B)).astype(np.int32) if token else rng.normal(size=(steps, B, D))
    )
    targets = (
        rng.integers(0, K, (steps, B)).astype(np.int32) if token else rng.normal(size=(steps, B, K))
    )
    mask = rng.random((steps, B)) < 0.6 if scored is None else np.full((steps, B), scored)
    mask[-1, 0] = True
    return Batch(inputs, targets, mask, carry)


def weights_of(model, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape) * 0.7 for name, shape in model.parameter_shapes().items()}


def trainer_of(model, weights, optimizer=None, **execution):
    execution = Execution("vectorised", dtype="float64", **execution)
    return NumpyBackend().trainer(model, optimizer or Optimizer(), weights, execution)


def differences(loss, weights):
    """Central differences of ``loss(weights)`` by every element."""
    copies = {name: array.copy() for name, array in weights.items()}
    return {
        name: central_differences(lambda: loss(copies), array) for name, array in copies.items()
    }


def assert_close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name in found:
        np.testing.assert_allclose(
            found[name], expected[name], rtol=0, atol=tolerance, err_msg=name
        )


@each_cell
@each_depth
@each_kind
@pytest.mark.parametrize("carry", [False, True])
def test_parameter_gradients_equal_finite_differences(cell, layers, kind, carry):
    model = model_of(cell, layers, kind)
    weights, batch = weights_of(model), batch_of(model, carry=carry)
    trainer = trainer_of(model, weights)
    rng = np.random.default_rng(2)
    state = tuple(rng.normal(size=shape) for shape in model.state_shapes(B))
    trainer.load_state(state)

    def loss(weights):
        trainer.load(weights)
        return trainer.gradients(trainer.put(batch)).loss

    expected = differences(loss, weights)
    trainer.load(weights)
    found = trainer.gradients(trainer.put(batch)).parameters
    assert_close(found, expected, FINITE_DIFFERENCE_TOLERANCE)


@each_cell
@each_depth
def test_hidden_gradients_are_total_derivatives(cell, layers):
    model = model_of(cell, layers)
    weights, batch = weights_of(model), batch_of(model)
    trainer = trainer_of(model, weights)

    def loss(layer, t, delta):
        return run_equations(model, weights, batch, nudge=Nudge(layer, t, delta)).loss

    hidden = trainer.gradients(trainer.put(batch)).hidden
    for layer, t, b, unit in np.ndindex(layers, T, B, H):
        delta = np.zeros((B, H))
        delta[b, unit] = STEP
        expected = (loss(layer, t, delta) - loss(layer, t, -delta)) / (2 * STEP)
        assert hidden[layer, t, b, unit] == pytest.approx(expected, abs=FINITE_DIFFERENCE_TOLERANCE)


@pytest.mark.slow
def test_gradients_under_dropout_belong_to_the_mask_that_was_drawn():
    model = model_of(CELLS["lstm"], layers=3, dropout=0.5)
    weights, batch = weights_of(model), batch_of(model)

    def step(weights):
        trainer = trainer_of(model, weights, Optimizer("sgd", learning_rate=1.0), dropout_seed=7)
        return float(trainer.train_step(trainer.put(batch)).loss), trainer.parameters()

    expected = differences(lambda weights: step(weights)[0], weights)
    moved = step(weights)[1]
    assert_close(
        {name: weights[name] - moved[name] for name in weights},
        expected,
        FINITE_DIFFERENCE_TOLERANCE,
    )


def torch_loss(torch, model, outputs, batch):
    mask, targets = torch.from_numpy(batch.mask), torch.from_numpy(batch.targets)
    if model.loss == "cross_entropy":
        return torch.nn.functional.cross_entropy(outputs[mask], targets[mask].long())
    return torch.nn.functional.mse_loss(outputs[mask], targets[mask])


def torch_inputs(torch, model, batch):
    inputs = torch.from_numpy(batch.inputs)
    if model.inputs.kind == "token":
        return torch.nn.functional.one_hot(inputs.long(), 5).double()
    return inputs


@pytest.mark.parametrize("name", ["rnn", "rnn_relu", "lstm", "gru"])
@each_depth
@each_kind
def test_outputs_and_gradients_equal_torch_nn(name, layers, kind):
    torch = pytest.importorskip("torch")
    model = model_of(CELLS[name], layers, kind)
    weights, batch = weights_of(model), batch_of(model, steps=20)
    module = {"rnn": "RNN", "rnn_relu": "RNN", "lstm": "LSTM", "gru": "GRU"}[name]
    extra = {"nonlinearity": "relu"} if name == "rnn_relu" else {}
    recurrent = getattr(torch.nn, module)(model.inputs.size, H, layers, **extra).double()
    tensors = {
        key: torch.from_numpy(array.copy()).requires_grad_() for key, array in weights.items()
    }
    readout = {key: tensors.pop(key) for key in ("weight_out", "bias_out")}
    recurrent.load_state_dict(tensors)
    outputs = (
        recurrent(torch_inputs(torch, model, batch))[0] @ readout["weight_out"].T
        + readout["bias_out"]
    )
    loss = torch_loss(torch, model, outputs, batch)
    loss.backward()
    expected = {key: parameter.grad.numpy() for key, parameter in recurrent.named_parameters()}
    expected |= {key: tensor.grad.numpy() for key, tensor in readout.items()}

    trainer = trainer_of(model, weights)
    found = trainer.gradients(trainer.put(batch))
    assert found.loss == pytest.approx(loss.item(), abs=TORCH_TOLERANCE)
    assert_close(found.parameters, expected, TORCH_TOLERANCE)
    np.testing.assert_allclose(
        trainer.outputs(trainer.put(batch)), outputs.detach().numpy(), atol=TORCH_TOLERANCE
    )


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_hidden_gradients_equal_autograd_through_torch_cells(name):
    torch = pytest.importorskip("torch")
    model = model_of(CELLS[name], layers=2)
    weights, batch = weights_of(model), batch_of(model, steps=20)
    below, hidden = list(torch_inputs(torch, model, batch)), []
    for layer in range(2):
        cell = getattr(torch.nn, f"{name.upper()}Cell")(below[0].shape[1], H).double()
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        cell.load_state_dict(
            {kind: torch.from_numpy(weights[f"{kind}_l{layer}"]) for kind in kinds}
        )
        state, above = None, []
        for x in below:
            state = cell(x, state)
            h = state[0] if name == "lstm" else state
            h.retain_grad()
            above.append(h)
        below = above
        hidden.append(above)
    outputs = torch.stack(below) @ torch.from_numpy(weights["weight_out"]).T + torch.from_numpy(
        weights["bias_out"]
    )
    torch_loss(torch, model, outputs, batch).backward()
    expected = np.array([[h.grad.numpy() for h in layer] for layer in hidden])

    trainer = trainer_of(model, weights)
    found = trainer.gradients(trainer.put(batch)).hidden
    np.testing.assert_allclose(found, expected, rtol=0, atol=TORCH_TOLERANCE)
