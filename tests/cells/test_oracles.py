"""Cells against what they must equal: other cells, closed forms, equations stated anew in torch."""

from types import SimpleNamespace

import numpy as np
import pytest

from harness.cells import harness_cells
from harness.contract import Batch, Execution, Inputs, Model, Optimizer
from harness.testing.equations import run_equations
from harness_numpy import NumpyBackend

CELLS = {cell.name: cell for cell in harness_cells()}
T, B, D, H, LAYERS = 9, 3, 2, 4, 2
EXACT = {"rtol": 0, "atol": 1e-12}  # float64; all numbers are of order 1


def model_of(cell, layers=LAYERS, inputs=D, hidden=H):
    return Model(CELLS[cell], Inputs("real", inputs), hidden, layers, hidden, "squared_error")


def drawn(model, seed=0):
    """Return weights of order 1; what is read out is h itself."""
    rng = np.random.default_rng(seed)
    weights = {name: rng.normal(size=shape) for name, shape in model.parameter_shapes().items()}
    read_h = {"weight_out": np.eye(model.hidden), "bias_out": np.zeros(model.hidden)}
    return weights | read_h


def sequences(seed=1):
    rng = np.random.default_rng(seed)
    mask = np.ones((T, B), bool)
    return Batch(rng.normal(size=(T, B, D)), rng.normal(size=(T, B, H)), mask)


def gates(array, count):
    return np.split(array, count, axis=0)


def test_lstm_coupled_is_an_lstm_whose_input_gate_is_its_forget_gate_negated():
    coupled, batch = model_of("lstm_coupled"), sequences()
    weights, tied = drawn(coupled), {}
    for name, value in weights.items():
        if name.endswith("_out"):
            tied[name] = value
        else:
            f, g, o = gates(value, 3)
            tied[name] = np.concatenate([-f, f, g, o])
    actual = run_equations(coupled, weights, batch)
    expected = run_equations(model_of("lstm"), tied, batch)
    np.testing.assert_allclose(actual.outputs, expected.outputs, **EXACT)
    np.testing.assert_allclose(actual.state, expected.state, **EXACT)


def test_indrnn_is_a_relu_network_with_diagonal_recurrent_weights():
    independent, batch = model_of("indrnn"), sequences()
    weights = drawn(independent)
    full = dict(weights)
    for layer in range(LAYERS):
        full[f"weight_hh_l{layer}"] = np.diag(full.pop(f"u_l{layer}"))
        full[f"bias_hh_l{layer}"] = np.zeros(H)
    actual = run_equations(independent, weights, batch)
    expected = run_equations(model_of("rnn_relu"), full, batch)
    np.testing.assert_allclose(actual.outputs, expected.outputs, **EXACT)


def test_gru_input_bias_is_a_gru_with_zeros_for_recurrent_biases():
    plain, batch = model_of("gru"), sequences()
    weights = drawn(plain)
    for layer in range(LAYERS):
        weights[f"bias_hh_l{layer}"] = np.zeros(3 * H)
    without = {name: value for name, value in weights.items() if not name.startswith("bias_hh")}
    actual = run_equations(model_of("gru_input_bias"), without, batch)
    expected = run_equations(plain, weights, batch)
    np.testing.assert_allclose(actual.outputs, expected.outputs, **EXACT)


@pytest.mark.parametrize(
    ("cell", "eigenvalue"),
    [
        ("diagonal_signed", lambda z: np.tanh(4 * z)),
        ("diagonal_positive", lambda z: (1 + np.tanh(4 * z)) / 2),
    ],
)
def test_an_impulse_decays_by_the_eigenvalues_of_a_diagonal_network(cell, eigenvalue):
    model, size = model_of(cell, layers=1, inputs=1), 1.7
    weights = drawn(model)
    w_b, bias_a = gates(weights["weight_ih_l0"], 2)[1][:, 0], gates(weights["bias_ih_l0"], 2)[0]
    weights["bias_ih_l0"][H:] = 0.0  # b = 0 but at the impulse
    x = np.zeros((T, 1, 1))
    x[0] = size
    batch = Batch(x, np.zeros((T, 1, H)), np.ones((T, 1), bool))
    h = run_equations(model, weights, batch).outputs[:, 0]
    powers = eigenvalue(bias_a) ** np.arange(T)[:, None]
    np.testing.assert_allclose(h, size * w_b * powers, **EXACT)


def test_a_signed_diagonal_counts_modulo_two_and_a_positive_one_cannot():
    x = np.random.default_rng(3).integers(2, size=(64, 1, 1)).astype(float)
    parity = 1 - 2 * (np.cumsum(x[:, 0, 0]) % 2)
    batch = Batch(x, np.zeros((64, 1, 1)), np.ones((64, 1), bool))
    for cell, alternates in (("diagonal_signed", True), ("diagonal_positive", False)):
        weights = {
            "weight_ih_l0": np.array([[-20.0], [0.0]]),  # a = -1 at a one, 1 at a zero
            "bias_ih_l0": np.array([10.0, 0.0]),
            "weight_out": np.eye(1), "bias_out": np.zeros(1),
        }  # fmt: skip
        start = (np.ones((1, 1, 1)),)
        h = run_equations(model_of(cell, 1, 1, 1), weights, batch, start).outputs[:, 0, 0]
        assert np.allclose(h, parity) == alternates


def test_a_gated_delta_reads_its_pairs_through_the_products_of_what_later_steps_keep():
    """With scalars a and b: S_T = sum of b_s v_s k_s^T times a_r (I - b_r k_r k_r^T), r > s."""
    model, batch = model_of("gated_delta", layers=1), sequences()
    weights = drawn(model)
    for name in ("weight_ih_l0", "bias_ih_l0"):
        for scalar in gates(weights[name], 5)[3:]:
            scalar[...] = scalar[0]  # a view
    z = batch.inputs @ weights["weight_ih_l0"].T + weights["bias_ih_l0"]
    z_q, z_k, z_v, z_a, z_b = np.split(z, 5, axis=-1)
    q, k, v = (part / (1 + np.exp(-part)) for part in (z_q, z_k, z_v))
    q, k = (part / np.sqrt((part**2).sum(-1, keepdims=True) + 1e-6) for part in (q, k))
    a, b = (1 / (1 + np.exp(-part[..., 0])) for part in (z_a, z_b))
    expected = np.zeros((T, B, H))
    for end, n in np.ndindex(T, B):
        reads = q[end, n]  # times the later matrices, from the last to the first
        for s in range(end, -1, -1):
            expected[end, n] += b[s, n] * v[s, n] * (k[s, n] @ reads)
            reads = a[s, n] * (reads - b[s, n] * k[s, n] * (k[s, n] @ reads))
    outputs = run_equations(model, weights, batch).outputs
    np.testing.assert_allclose(outputs, expected, **EXACT)


def lstm_peephole(torch, w, x, h, c):
    u = w.weight_ih @ x + w.bias_ih[:, None] + w.weight_hh @ h + w.bias_hh[:, None]
    peep_i, peep_f, peep_o = (p[:, None] for p in (w.peephole_i, w.peephole_f, w.peephole_o))
    admit = 1 / (1 + torch.exp(-(u[:H] + peep_i * c)))
    forget = 1 / (1 + torch.exp(-(u[H : 2 * H] + peep_f * c)))
    new = forget * c + admit * torch.tanh(u[2 * H : 3 * H])
    emit = 1 / (1 + torch.exp(-(u[3 * H :] + peep_o * new)))
    return emit * torch.tanh(new), new


def mgu(torch, w, x, h):
    f = torch.sigmoid(w.weight_ih[:H] @ x + w.weight_hh @ h + w.bias_ih[:H, None])
    n = torch.tanh(w.weight_ih[H:] @ x + w.weight_hn @ (f * h) + w.bias_ih[H:, None])
    return (h - f * h + f * n,)


def leaky(torch, w, x, h):
    a = (1 / (1 + torch.exp(-w.leak)))[:, None]
    drive = w.weight_ih @ x + w.weight_hh @ h + (w.bias_ih + w.bias_hh)[:, None]
    return (h + a * (torch.tanh(drive) - h),)


def sru(torch, w, x, h, c):
    u = (w.weight_ih @ x + w.bias_ih[:, None]).reshape(4, H, -1)
    f = torch.sigmoid(u[0] + w.v_f[:, None] * c)
    r = torch.sigmoid(u[1] + w.v_r[:, None] * c)
    new = u[2] + f * (c - u[2])
    return u[3] + r * (new - u[3]), new


def gated_delta(torch, w, x, h, S):
    """The rule as the paper states it: S (I - b k k^T), the row gates a and b aside."""
    z = (w.weight_ih @ x + w.bias_ih[:, None]).reshape(5, H, -1)
    q, k, v = torch.nn.functional.silu(z[:3])
    q, k = (part / torch.sqrt((part * part).sum(0) + 1e-6) for part in (q, k))
    a, b = torch.sigmoid(z[3:])
    erased = torch.einsum("ib,jlb->ijlb", b, torch.einsum("jb,lb->jlb", k, k))
    kept = torch.eye(H, dtype=x.dtype)[None, :, :, None] - erased  # a matrix per row of S
    new = torch.einsum("ib,ijb,ijlb->ilb", a, S, kept) + torch.einsum("ib,jb->ijb", b * v, k)
    return torch.einsum("ijb,jb->ib", new, q), new


def by_torch(step, shapes, weights, batch):
    """Return h (T, B, H) of the last layer, the loss and its gradients, by autograd."""
    torch = pytest.importorskip("torch")
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in weights.items()}
    values = list(torch.tensor(batch.inputs).mT)  # (D, B) each
    for layer in range(LAYERS):
        end = f"_l{layer}"
        own = {name.removesuffix(end): p for name, p in tensors.items() if name.endswith(end)}
        state = [torch.zeros(*shape, B, dtype=torch.float64) for shape in shapes]
        for t, x in enumerate(values):
            state = step(torch, SimpleNamespace(**own), x, *state)
            values[t] = state[0]
    h = torch.stack(values).mT
    outputs = h @ tensors["weight_out"].T + tensors["bias_out"]
    loss = ((outputs - torch.tensor(batch.targets)) ** 2).mean()
    loss.backward()
    gradients = {name: tensor.grad.numpy() for name, tensor in tensors.items()}
    return h.detach().numpy(), loss.item(), gradients


STEPS = [lstm_peephole, mgu, leaky, sru, gated_delta]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_a_cell_and_its_gradient_are_those_of_its_equations_in_torch(step):
    model, batch = model_of(step.__name__), sequences()
    weights = drawn(model)
    h, loss, gradients = by_torch(step, model.cell.state_shapes(H), weights, batch)
    np.testing.assert_allclose(run_equations(model, weights, batch).outputs, h, **EXACT)
    execution = Execution("loop", dtype="float64")
    trainer = NumpyBackend().trainer(model, Optimizer(), weights, execution)
    ours = trainer.gradients(trainer.put(batch))
    assert ours.loss == pytest.approx(loss, rel=1e-12)
    assert ours.parameters.keys() == gradients.keys()
    for name, expected in gradients.items():
        np.testing.assert_allclose(ours.parameters[name], expected, err_msg=name, **EXACT)
