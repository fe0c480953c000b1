"""The loss of sets is that of torch, with its gradient, in every engine and in the evaluation."""

import numpy as np
import pytest

from harness.cells import LSTM
from harness.contract import Batch, Execution, Inputs, Model
from harness.measure.evaluate import sums_of_losses
from harness.plugins import load_plugins
from harness.testing.bench import SGD, Case
from harness_numpy.recurrence.readout import loss_and_gradient

torch = pytest.importorskip("torch")
functional = torch.nn.functional
K = 3
ENGINES = (
    ("numpy", "loop"),
    ("numpy", "vectorised"),
    ("numpy", "native"),
    ("torch", "library"),
    ("torch", "native"),
    ("jax", "scan"),
)


def expected(logits, targets):
    """Return torch's mean loss and its gradient."""
    leaf = torch.tensor(logits, requires_grad=True)
    loss = functional.binary_cross_entropy_with_logits(leaf, torch.tensor(targets))
    loss.backward()
    return loss.item(), leaf.grad.numpy()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_loss_and_gradient_are_torchs_for_any_logit_and_share(dtype):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, K)).astype(dtype)
    logits[:6, 0] = (-1000, -90, -20, 20, 90, 1000)
    targets = rng.integers(2, size=logits.shape).astype(dtype)
    targets[7] = (0.25, 0.5, 1.0)
    loss, gradient = expected(logits, targets)
    computed = logits.copy()
    tolerance = {"rtol": 1e-12 if dtype is np.float64 else 1e-5, "atol": 1e-9}
    share = loss_and_gradient("binary_cross_entropy", computed, targets, len(logits))
    assert share.dtype == computed.dtype == dtype
    np.testing.assert_allclose(share, loss, **tolerance)
    np.testing.assert_allclose(computed, gradient, **tolerance)


def test_the_evaluation_sums_torchs_losses_of_scored_positions():
    batch = Case(7, inputs="real", loss="binary_cross_entropy").make_batch()
    outputs = np.random.default_rng(1).normal(size=batch.targets.shape)
    losses = functional.binary_cross_entropy_with_logits(
        torch.tensor(outputs), torch.tensor(batch.targets), reduction="none"
    )
    scored = (losses.numpy().mean(axis=-1) * batch.mask).sum(axis=0)
    sums = sums_of_losses("binary_cross_entropy", outputs, batch)
    np.testing.assert_allclose(sums, scored, rtol=1e-12)


@pytest.fixture(scope="module")
def layers():
    """Return model, parameters, batch, and loss and gradients of ``torch.nn.LSTM`` in float64."""
    rng = np.random.default_rng(2)
    model = Model(LSTM(), Inputs("token", 4), 5, 1, K, "binary_cross_entropy")
    shapes = model.parameter_shapes()
    parameters = {name: rng.uniform(-0.5, 0.5, shape) for name, shape in shapes.items()}
    inputs = rng.integers(4, size=(6, 2), dtype=np.int32)
    targets = rng.integers(2, size=(6, 2, K)).astype(np.float64)
    mask = rng.integers(2, size=(6, 2)) == 1
    mask[-1] = True
    leaves = {name: torch.tensor(p, requires_grad=True) for name, p in parameters.items()}
    layer = torch.nn.LSTM(4, 5, dtype=torch.float64)
    own = {name: leaf for name, leaf in leaves.items() if name.endswith("_l0")}
    encoded = functional.one_hot(torch.tensor(inputs).long(), 4).double()
    hidden, _ = torch.func.functional_call(layer, own, (encoded,))
    outputs = hidden @ leaves["weight_out"].T + leaves["bias_out"]
    loss = functional.binary_cross_entropy_with_logits(outputs[mask], torch.tensor(targets)[mask])
    loss.backward()
    gradients = {name: leaf.grad.numpy() for name, leaf in leaves.items()}
    return model, parameters, Batch(inputs, targets, mask), loss.item(), gradients


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), ENGINES)
def test_every_engine_has_torchs_loss_and_gradients(layers, name, variant):
    model, parameters, batch, loss, gradients = layers
    plugins = load_plugins()
    if name not in plugins.backends or variant not in plugins.backends[name].variants(model.cell):
        pytest.skip(f"{name}:{variant} is not installed")
    trainer = plugins.backends[name].trainer(
        model, SGD, parameters, Execution(variant, dtype="float64")
    )
    computed = trainer.gradients(trainer.put(batch))
    assert computed.loss == pytest.approx(loss, rel=1e-12)
    for parameter, gradient in gradients.items():
        np.testing.assert_allclose(
            computed.parameters[parameter], gradient, rtol=1e-9, atol=1e-12, err_msg=parameter
        )
