"""Update rules on torch against those of NumPy, which are held against torch.optim and optax."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from harness.contract import Optimizer  # noqa: E402
from harness_numpy.update import Update as NumpyUpdate  # noqa: E402
from harness_torch.update import Update  # noqa: E402

RULES = {
    "adam with weight decay": Optimizer("adam", 0.1, weight_decay=0.3),
    "rmsprop from a mean square": Optimizer("rmsprop", 0.1, initial_square=0.5),
    **{
        f"{name}, epsilon in the root": Optimizer(name, 0.1, epsilon=1e-3, epsilon_in_root=True)
        for name in ("rmsprop", "adagrad", "adam")
    },
}
RULES["both"] = replace(RULES["adam with weight decay"], epsilon_in_root=True)


@pytest.mark.parametrize("rule", RULES)
def test_a_sum_of_two_parameters_moves_as_both_do(rule):
    rng, rule = np.random.default_rng(0), RULES[rule]
    once, first, second = rng.normal(size=(3, 5))
    weights = [torch.tensor(once, requires_grad=True), torch.tensor(first + second)]
    weights[1].requires_grad_()
    update = Update(rule, weights[:1], weights[1:])
    parts = [(once, NumpyUpdate(rule, once)), *((p, NumpyUpdate(rule, p)) for p in (first, second))]
    for _ in range(4):
        gradients = rng.normal(size=(2, 5))
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = torch.tensor(gradient)
        update.apply()
        for (part, numpy_update), which in zip(parts, (0, 1, 1), strict=True):
            numpy_update.apply(part, gradients[which].copy())
    np.testing.assert_allclose(weights[0].detach().numpy(), once, rtol=0, atol=1e-12)
    np.testing.assert_allclose(weights[1].detach().numpy(), first + second, rtol=0, atol=1e-12)
