"""An embedding and a tied readout are torch's, with their gradients, in every engine."""

from functools import cache

import numpy as np
import pytest

from harness.cells import LSTM, MinGRU
from harness.contract import Batch, Execution, Inputs, Model, UnsupportedError
from harness.plugins import load_plugins
from harness.testing.bench import SGD

torch = pytest.importorskip("torch")
V, H, T, B = 11, 4, 7, 3
ENGINES = (
    *(f"numpy:{name}" for name in ("vectorised", "loop", "reference", "numba", "native")),
    *(f"torch:{name}" for name in ("library", "loop", "fused", "native")),
    *(f"jax:{name}" for name in ("scan", "fused", "deer", "native")),
)
COMPILED = "torch:compiled"  # takes seconds
PEERS = ("equinox:scan", "flax:linen", "flax:nnx", "haiku:unroll")


def model_of(embedding, cell=None, layers=2):
    tied = embedding == H
    inputs = Inputs("token", V)
    return Model(
        cell or LSTM(),
        inputs,
        H,
        layers,
        V,
        "cross_entropy",
        embedding=embedding,
        tied_readout=tied,
    )


@cache
def drawn(model):
    rng = np.random.default_rng(2)
    shapes = model.parameter_shapes()
    parameters = {name: rng.uniform(-0.5, 0.5, shape) for name, shape in shapes.items()}
    inputs, targets = rng.integers(V - 2, size=(2, T, B), dtype=np.int32)  # two never occur
    mask = rng.integers(2, size=(T, B)) == 1
    mask[-1] = True
    return parameters, Batch(inputs, targets, mask)


class Torchs(torch.nn.Module):
    """The model in torch's own modules, as in its example of word_language_model."""

    def __init__(self, model):
        super().__init__()
        self.embedding = torch.nn.Embedding(V, model.embedding)
        self.recurrent = torch.nn.LSTM(model.embedding, H, model.layers)
        self.readout = torch.nn.Linear(H, V)
        if model.tied_readout:
            self.readout.weight = self.embedding.weight

    def named(self):
        own = dict(self.recurrent.named_parameters())
        tensors = {"weight_out": self.readout.weight, "bias_out": self.readout.bias}
        return own | tensors | {"embedding": self.embedding.weight}

    def forward(self, tokens):
        return self.readout(self.recurrent(self.embedding(tokens))[0])


@cache
def expected(model):
    """Return the loss and the gradients of torch's modules in float64."""
    module, (parameters, batch) = Torchs(model).double(), drawn(model)
    with torch.no_grad():
        for name, value in parameters.items():
            module.named()[name].copy_(torch.tensor(value))
    outputs = module(torch.tensor(batch.inputs).long())[torch.tensor(batch.mask)]
    targets = torch.tensor(batch.targets[batch.mask]).long()
    loss = torch.nn.functional.cross_entropy(outputs, targets)
    loss.backward()
    return loss.item(), {name: module.named()[name].grad.numpy() for name in parameters}


def trainer_of(engine, model, **execution):
    name, _, variant = engine.partition(":")
    backends = load_plugins().backends
    offered = name in backends and (
        *backends[name].variants(model.cell),
        backends[name].reference_variant(model.cell),
    )
    if not offered or variant not in offered:
        pytest.skip(f"{engine} is not installed")
    execution = Execution(variant, **{"dtype": "float64", **execution})
    return backends[name].trainer(model, SGD, drawn(model)[0], execution)


def check(engine, model, **execution):
    trainer, batch = trainer_of(engine, model, **execution), drawn(model)[1]
    loss, gradients = expected(model)
    computed = trainer.gradients(trainer.put(batch))
    assert computed.loss == pytest.approx(loss, rel=1e-12)
    assert list(computed.parameters) == list(gradients)
    trainer.train_step(trainer.put(batch))
    after = trainer.parameters()
    for name, gradient in gradients.items():
        close = {"rtol": 1e-9, "atol": 1e-12, "err_msg": name}
        np.testing.assert_allclose(computed.parameters[name], gradient, **close)
        moved = (drawn(model)[0][name] - after[name]) / SGD.learning_rate
        np.testing.assert_allclose(moved, gradient, **close | {"atol": 1e-11})


@pytest.mark.slow
@pytest.mark.parametrize("embedding", [3, H])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_has_torchs_loss_gradients_and_update(engine, embedding):
    if (engine, embedding) == ("jax:deer", 3):
        pytest.skip("it compiles for seconds, and one width of the table is enough")
    check(engine, model_of(embedding))


@pytest.mark.slow
@pytest.mark.parametrize("engine", PEERS)
def test_a_peers_own_embedding_has_torchs_loss_gradients_and_ties_no_readout(engine):
    model = model_of(3, layers=1)
    trainer, (loss, gradients) = trainer_of(engine, model), expected(model)
    computed = trainer.gradients(trainer.put(drawn(model)[1]))
    assert computed.loss == pytest.approx(loss, rel=1e-12)
    for name, gradient in gradients.items():
        close = {"rtol": 1e-9, "atol": 1e-12, "err_msg": name}
        np.testing.assert_allclose(computed.parameters[name], gradient, **close)
    with pytest.raises(UnsupportedError, match="leave --tied-readout out"):
        trainer_of(engine, model_of(H))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpy:vectorised", "torch:fused", "jax:scan"])
def test_a_chunk_that_is_run_again_adds_to_the_table(engine):
    check(engine, model_of(H), checkpoint=3)


@pytest.mark.full
@pytest.mark.parametrize("embedding", [3, H])
def test_the_compiled_variant_has_torchs_loss_gradients_and_update(embedding):
    check(COMPILED, model_of(embedding))


@pytest.mark.slow
@pytest.mark.parametrize("embedding", [3, H])
@pytest.mark.parametrize("engine", ["torch:parallel", "jax:parallel"])
def test_a_parallel_scan_has_the_gradients_of_the_reference(engine, embedding):
    model = model_of(embedding, MinGRU())
    reference, trainer = (trainer_of(name, model) for name in ("numpy:reference", engine))
    exact = reference.gradients(reference.put(drawn(model)[1])).parameters
    computed = trainer.gradients(trainer.put(drawn(model)[1])).parameters
    for name, gradient in exact.items():
        np.testing.assert_allclose(computed[name], gradient, rtol=1e-9, atol=1e-12, err_msg=name)


def test_one_hot_vectors_times_a_table_are_the_same_function():
    """The product of both matrices is what a model without embedding learns in their place."""
    model = model_of(3)
    parameters, batch = drawn(model)
    plain = dict(parameters)
    plain["weight_ih_l0"] = plain["weight_ih_l0"] @ plain.pop("embedding").T
    without = Model(model.cell, model.inputs, H, 2, V, "cross_entropy")
    outputs = []
    for each, weights in ((model, parameters), (without, plain)):
        backend = load_plugins().backend("numpy")
        trainer = backend.trainer(each, SGD, weights, Execution("vectorised", dtype="float64"))
        outputs.append(trainer.outputs(trainer.put(batch)))
    np.testing.assert_allclose(*outputs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": Inputs("real", 2), "embedding": 3}, "needs tokens"),
        ({"tied_readout": True}, "there is no embedding for 4 hidden units: give --embedding 4"),
        ({"tied_readout": True, "embedding": 3}, "an embedding of width 3 for 4 hidden units"),
        ({"tied_readout": True, "embedding": H, "outputs": 5}, "5 outputs and 11 tokens"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_fix(changes, message):
    fields = {"cell": LSTM(), "inputs": Inputs("token", V), "hidden": H, "layers": 1, "outputs": V}
    with pytest.raises(UnsupportedError, match=message):
        Model(**fields | {"loss": "cross_entropy"} | changes)
