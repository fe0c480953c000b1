"""Kernels of the well-known cells: few operations per time step, into buffers that stay.

They rest on three facts of PyTorch on a CPU. ``tanh`` costs five times ``sigmoid``, so tanh(x) is taken as
2 sigmoid(2x) - 1, the doubling of x folded into the weights beforehand (``fold``), with both biases folded into zx.
``addmm_`` adds the recurrent product to zx where it lies, and the gates then overwrite it. And the derivatives of all
gates are taken for all time steps at once before the reverse loop, which only scales them by d_h and d_c.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

import torch
from torch import Tensor

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import Cell
from harness_torch.buffers import Buffers
from harness_torch.kernel import Derivatives, Kernel, States
from harness_torch.layer import LayerWeights

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # d * y * (1 - y)
_tanh_backward = torch.ops.aten.tanh_backward.grad_input  # d * (1 - y * y)


class TunedKernel(Kernel, Protocol):
    """A kernel that wants its weights in another form."""

    def fold(self, weights: LayerWeights) -> LayerWeights:
        """Return the weights as ``forward`` wants them; autograd takes the gradients back to the model's."""


class _Tuned:
    """What the tuned kernels share: buffers, folding, and h of all time steps, the initial one first."""

    scales: ClassVar[tuple[float, ...]]  # of each gate's pre-activation

    def __init__(self) -> None:
        self._buffers = Buffers()

    def fold(self, weights: LayerWeights) -> LayerWeights:
        """Scale each gate's rows and put the recurrent bias into the input's."""
        if weights.weight_hh is None or weights.bias_hh is None:
            raise TypeError("this kernel needs a recurrent cell")
        bias = weights.bias_ih + weights.bias_hh
        return LayerWeights(self._scaled(weights.weight_ih), self._scaled(bias), self._scaled(weights.weight_hh), None)

    def _scaled(self, rows: Tensor) -> Tensor:
        if set(self.scales) == {1.0}:
            return rows
        if len(self.scales) == 1:
            return rows * self.scales[0]
        factors = torch.tensor(self.scales, dtype=rows.dtype, device=rows.device)
        factors = factors.repeat_interleave(len(rows) // len(self.scales))
        return rows * (factors if rows.dim() == 1 else factors[:, None])

    def _begin(self, zx: Tensor, weight_hh: Tensor, h: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Keep what the reverse loop needs; return h (T + 1, B, H), the first filled in, and its time steps."""
        time_steps, size, _ = zx.shape
        self._weight, self._shape = weight_hh, (time_steps, size, h.shape[-1])
        hidden = self._buffers.get("h", (time_steps + 1, size, h.shape[-1]), zx)
        hidden[0] = h
        return hidden, self._buffers.steps("h")

    def _buffer(self, name: str, width: int = 1) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return a buffer (T, B, width*H) and its time steps."""
        time_steps, size, hidden = self._shape
        buffer = self._buffers.get(name, (time_steps, size, width * hidden), self._weight)
        return buffer, self._buffers.steps(name)

    def _h_before(self) -> Tensor:
        """Return h of the step before each, (T*B, H)."""
        time_steps, size, hidden = self._shape
        return self._buffers.get("h", (time_steps + 1, size, hidden), self._weight)[:-1].flatten(0, 1)


class RNNKernel(_Tuned):
    """h' = tanh(z) or relu(z); the derivative comes from h' alone."""

    def __init__(self, *, relu: bool) -> None:
        super().__init__()
        self._relu = relu
        self.scales = (1.0,) if relu else (2.0,)  # type: ignore[misc]

    def forward(self, zx: Tensor, weight_hh: Tensor, bias_hh: None, state: States) -> tuple[Tensor, States]:
        """Run all time steps."""
        hidden, h = self._begin(zx, weight_hh, state[0])
        recurrent, minus_one = weight_hh.t(), -torch.ones_like(state[0])
        for t, z in enumerate(zx.unbind(0)):
            z.addmm_(h[t], recurrent)
            if self._relu:
                torch.clamp_min(z, 0.0, out=h[t + 1])
            else:
                torch.add(minus_one, z.sigmoid_(), alpha=2.0, out=h[t + 1])
        return hidden[1:].detach(), (h[-1].clone(),)

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Run all time steps back: d_z = d_h' * f'(z)."""
        total, d_h = self._buffer("d_h")
        d_all, d_z = self._buffer("d_z")
        self._derivative(out=d_all)
        direct, weight = d_hidden.unbind(0), self._weight
        torch.add(direct[-1], d_final[0], out=d_h[-1])
        for t in range(len(d_z) - 1, 0, -1):
            torch.mul(d_h[t], d_z[t], out=d_z[t])
            torch.addmm(direct[t - 1], d_z[t], weight, out=d_h[t - 1])
        torch.mul(d_h[0], d_z[0], out=d_z[0])
        return Derivatives(d_all, d_all.flatten(0, 1).t() @ self._h_before(), None, total, (d_z[0] @ weight,))

    def _derivative(self, out: Tensor) -> None:
        """Write d h' / d z for the scaled z."""
        after = self._buffers.get("h", (len(out) + 1, *out.shape[1:]), out)[1:]
        if self._relu:
            torch.sign(after, out=out)  # h' is never negative
        else:
            torch.mul(after, after, out=out).mul_(-0.5).add_(0.5)


class LSTMKernel(_Tuned):
    """The LSTM on 2c, so that tanh(c) needs no doubling: 2c' = f * 2c + 2 i g."""

    scales = (1.0, 1.0, 2.0, 1.0)

    def forward(self, zx: Tensor, weight_hh: Tensor, bias_hh: None, state: States) -> tuple[Tensor, States]:
        """Run all time steps; zx becomes the gates."""
        hidden, h = self._begin(zx, weight_hh, state[0])
        double_c = self._buffers.get("2c", hidden.shape, zx)
        torch.mul(state[1], 2.0, out=double_c[0])
        c, (_, tanh_c) = self._buffers.steps("2c"), self._buffer("tanh_c")
        recurrent, minus_one = weight_hh.t(), -torch.ones_like(state[0])
        self._gates = zx.chunk(4, -1)
        gates = zip(zx.unbind(0), *(gate.unbind(0) for gate in self._gates), tanh_c, strict=True)
        for t, (z, i, f, g, o, tanh) in enumerate(gates):
            z.addmm_(h[t], recurrent).sigmoid_()
            torch.add(minus_one, g, alpha=2.0, out=g)
            torch.mul(f, c[t], out=c[t + 1]).addcmul_(i, g, value=2.0)
            torch.sigmoid(c[t + 1], out=tanh)
            torch.add(minus_one, tanh, alpha=2.0, out=tanh)
            torch.mul(o, tanh, out=h[t + 1])
        return hidden[1:].detach(), (h[-1].clone(), c[-1] * 0.5)

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Run all time steps back, with d_c the derivative of 2c."""
        total, d_h = self._buffer("d_h")
        d_all, d_z = self._buffer("d_z", 4)
        through_h, of_c = self._derivatives(d_all)
        time_steps, size, hidden = self._shape
        of_ifg = d_all.view(time_steps, size, 4, hidden)[:, :, :3].unbind(0)
        of_o, forget = d_all.chunk(4, -1)[3].unbind(0), self._gates[1].unbind(0)
        direct, weight = d_hidden.unbind(0), self._weight
        torch.add(direct[-1], d_final[0], out=d_h[-1])
        d_c = d_final[1] * 0.5
        d_c_of_gates = d_c.unsqueeze(1)
        for t in range(time_steps - 1, -1, -1):
            d_c.addcmul_(d_h[t], of_c[t], value=0.5)
            of_o[t].mul_(d_h[t])
            of_ifg[t].mul_(d_c_of_gates)
            d_c.mul_(forget[t])
            if t:
                torch.addmm(direct[t - 1], d_z[t], weight, out=d_h[t - 1])
        d_weight = d_all.flatten(0, 1).t() @ self._h_before()
        return Derivatives(d_all, d_weight, None, total, (d_z[0] @ weight, d_c * 2.0))

    def _derivatives(self, out: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Write d 2c' / d z for i f g and d h' / d z for o into ``out``; return d h' / d c'."""
        i, f, g, o = self._gates
        of_i, of_f, of_g, of_o = out.chunk(4, -1)
        time_steps, size, hidden = self._shape
        c_before = self._buffers.get("2c", (time_steps + 1, size, hidden), out)[:-1]
        (tanh_c, _), (of_c, steps) = self._buffer("tanh_c"), self._buffer("of_c")
        _sigmoid_backward(g, i, grad_input=of_i).mul_(2.0)
        _sigmoid_backward(c_before, f, grad_input=of_f)
        _tanh_backward(i, g, grad_input=of_g)
        _sigmoid_backward(tanh_c, o, grad_input=of_o)
        _tanh_backward(o, tanh_c, grad_input=of_c)
        return of_c, steps


class GRUKernel(_Tuned):
    """The GRU; every derivative of a step is d_h' times a factor that needs no derivative.

    In the reverse buffer the gates lie as (n of zh, r, z, n of zx): the first three belong to h, the last three to x.
    """

    scales = (1.0, 1.0, 2.0)

    def fold(self, weights: LayerWeights) -> LayerWeights:
        """Fold r and z like any gate; n's recurrent bias stays apart, since r acts on it."""
        if weights.weight_hh is None or weights.bias_hh is None:
            raise TypeError("this kernel needs a recurrent cell")
        width = 2 * len(weights.bias_hh) // 3
        bias = torch.cat((weights.bias_ih[:width] + weights.bias_hh[:width], weights.bias_ih[width:] * 2.0))
        return LayerWeights(
            self._scaled(weights.weight_ih), bias, self._scaled(weights.weight_hh), weights.bias_hh[width:] * 2.0
        )

    def forward(self, zx: Tensor, weight_hh: Tensor, bias_hh: Tensor, state: States) -> tuple[Tensor, States]:
        """Run all time steps; zx becomes the gates."""
        hidden, h = self._begin(zx, weight_hh, state[0])
        width = 2 * state[0].shape[-1]
        of_rz, of_n = weight_hh[:width].t(), weight_hh[width:].t()
        minus_one, (_, zh_n) = -torch.ones_like(state[0]), self._buffer("zh_n")
        self._gates = zx.chunk(3, -1)
        gates = zip(zx[..., :width].unbind(0), *(gate.unbind(0) for gate in self._gates), zh_n, strict=True)
        for t, (rz, r, z, n, zh) in enumerate(gates):
            torch.addmm(bias_hh, h[t], of_n, out=zh)
            rz.addmm_(h[t], of_rz).sigmoid_()
            n.addcmul_(r, zh).sigmoid_()
            torch.add(minus_one, n, alpha=2.0, out=n)
            torch.lerp(n, h[t], z, out=h[t + 1])
        return hidden[1:].detach(), (h[-1].clone(),)

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Run all time steps back."""
        time_steps, size, hidden = self._shape
        total, d_h = self._buffer("d_h")
        d_all, d_z = self._buffer("d_z", 4)
        self._derivatives(d_all)
        d_zh = d_all[..., : 3 * hidden]
        by_step, by_gate = d_zh.unbind(0), d_all.view(time_steps, size, 4, hidden).unbind(0)
        keep, direct = self._gates[1].unbind(0), d_hidden.unbind(0)
        weight = torch.cat((self._weight[2 * hidden :], self._weight[: 2 * hidden]))  # n, r, z
        torch.add(direct[-1], d_final[0], out=d_h[-1])
        for t in range(time_steps - 1, 0, -1):
            by_gate[t].mul_(d_h[t].unsqueeze(1))
            torch.addcmul(direct[t - 1], d_h[t], keep[t], out=d_h[t - 1])
            d_h[t - 1].addmm_(by_step[t], weight)
        by_gate[0].mul_(d_h[0].unsqueeze(1))
        d_start = torch.addmm(d_h[0] * keep[0], by_step[0], weight)
        d_weight = d_zh.flatten(0, 1).t() @ self._h_before()
        d_weight = torch.cat((d_weight[hidden:], d_weight[:hidden]))
        return Derivatives(d_all[..., hidden:], d_weight, d_zh[..., :hidden].sum((0, 1)), total, (d_start,))

    def _derivatives(self, out: Tensor) -> None:
        """Write the factors of d_h' into ``out``."""
        r, z, n = self._gates
        of_nr, of_r, of_z, of_n = out.chunk(4, -1)
        zh_n, _ = self._buffer("zh_n")
        torch.mul(z, -0.5, out=of_n).add_(0.5)
        _tanh_backward(of_n, n, grad_input=of_n)
        torch.sub(self._h_before().view_as(zh_n), n, out=of_z)
        _sigmoid_backward(of_z, z, grad_input=of_z)
        _sigmoid_backward(zh_n, r, grad_input=of_r).mul_(of_n)
        torch.mul(of_n, r, out=of_nr)


def tuned_kernel(cell: Cell) -> TunedKernel | None:
    """Return a new kernel for exactly this cell (a subclass may have other equations), or None."""
    if type(cell) is LSTM:
        return LSTMKernel()
    if type(cell) is GRU:
        return GRUKernel()
    if type(cell) in (RNN, ReluRNN):
        return RNNKernel(relu=type(cell) is ReluRNN)
    return None
