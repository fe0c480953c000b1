"""The loss of outputs on torch."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from harness_torch import batch as batch_module  # noqa: E402


@pytest.mark.parametrize("large", [0, 2**20])
def test_few_and_many_logits_have_the_loss_and_gradient_of_torch(monkeypatch, large):
    """A masked position included."""
    monkeypatch.setattr(batch_module, "LARGE", large)
    targets = torch.tensor([[0, 3], [batch_module.IGNORED, 1], [2, 2]])
    batch = batch_module.DeviceBatch(
        targets, targets, None, torch.tensor(5.0), carry=False, loss_name="cross_entropy"
    )
    torch.manual_seed(0)
    outputs = torch.randn(3, 2, 4, dtype=torch.float64, requires_grad=True)
    expected = functional.cross_entropy(
        outputs.flatten(0, 1), targets.flatten(), ignore_index=batch_module.IGNORED
    )
    loss = batch.loss(outputs)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    (gradient,), (wanted,) = (torch.autograd.grad(each, outputs) for each in (loss, expected))
    torch.testing.assert_close(gradient, wanted, rtol=1e-12, atol=1e-15)
