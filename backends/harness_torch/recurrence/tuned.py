"""Kernels of the well-known cells: few operations per time step, into buffers that stay.

They rest on three facts of PyTorch on a CPU. ``tanh`` costs five times ``sigmoid``, so tanh(x) is
taken as 2 sigmoid(2x) - 1, the doubling of x folded into the weights beforehand (``fold``), with
both biases folded into zx. ``addmm_`` adds the recurrent product to zx where it lies, and the gates
then overwrite it. And the derivatives of all gates are taken for all time steps at once before the
reverse loop, which only scales them by d_h and d_c.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from harness.cells import GRU, LSTM, RNN, ReluRNN
from harness.contract import Cell
from harness_torch.recurrence.buffers import Buffers
from harness_torch.recurrence.kernel import Derivatives, Kernel
from harness_torch.recurrence.layer import LayerWeights, States

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input  # d * y * (1 - y)
_tanh_backward = torch.ops.aten.tanh_backward.grad_input  # d * (1 - y * y)


class _Tuned(ABC):
    """Buffers, folded weights, and h of all time steps, the initial one first."""

    scales: ClassVar[tuple[float, ...]]  # of each gate's pre-activation
    widths: ClassVar[dict[str, int]]  # of the buffers (T, B, width * H)

    def __init__(self) -> None:
        self.buffers = Buffers()
        self._factors: Tensor | None = None

    def fold(self, weights: LayerWeights) -> LayerWeights:
        """Scale each gate's rows, and put the recurrent bias into the input's."""
        bias = weights.bias_ih + weights.others["bias_hh"]
        others = {"weight_hh": self._scaled(weights.others["weight_hh"])}
        return LayerWeights(self._scaled(weights.weight_ih), self._scaled(bias), others)

    @abstractmethod
    def forward(self, others: Mapping[str, Tensor], state: States) -> tuple[Tensor, States]:
        """Run all time steps; zx becomes the gates."""

    @abstractmethod
    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Run all time steps back."""

    def _scaled(self, rows: Tensor) -> Tensor:
        if len(self.scales) == 1:
            return rows if self.scales[0] == 1.0 else rows * self.scales[0]
        if self._factors is None or len(self._factors) != len(rows):
            each = torch.tensor(self.scales, dtype=rows.dtype, device=rows.device)
            self._factors = each.repeat_interleave(len(rows) // len(each))
        return rows * (self._factors if rows.dim() == 1 else self._factors[:, None])

    def _begin(self, weight_hh: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """Make the buffers for this shape; return h of all steps, the first filled in."""
        zx = self.buffers["zx"]
        time_steps, (size, hidden) = len(zx), h.shape
        self._weight, self._minus_one = (
            weight_hh,
            self.buffers.get("-1", (size, hidden), zx).fill_(-1.0),
        )
        self.buffers.get("h", (time_steps + 1, size, hidden), zx)[0] = h
        for name, width in {"d_h": 1, **self.widths}.items():
            self.buffers.get(name, (time_steps, size, width * hidden), zx)
        return self.buffers.steps("h")

    def _hidden(self) -> Tensor:
        return self.buffers["h"][1:].detach()

    def _h_before(self) -> Tensor:
        """Return h of the step before each, (T, B, H)."""
        return self.buffers["h"][:-1]

    def _begin_reverse(self, d_hidden: Tensor, d_final: Tensor) -> tuple[Tensor, ...]:
        """Return d_h of all steps, by the outputs alone; that of the last step is total."""
        self.buffers["d_h"].copy_(d_hidden)
        d_h = self.buffers.steps("d_h")
        d_h[-1].add_(d_final)
        return d_h


class RNNKernel(_Tuned):
    """h' = tanh(z), whose derivative comes from h' alone."""

    scales: ClassVar[tuple[float, ...]] = (2.0,)
    widths: ClassVar[dict[str, int]] = {"d_z": 1}

    def forward(self, others: Mapping[str, Tensor], state: States) -> tuple[Tensor, States]:
        """Run all time steps."""
        h = self._begin(others["weight_hh"], state[0])
        recurrent = self._weight.t()
        for t, z in enumerate(self.buffers.steps("zx")):
            self._activate(z.addmm_(h[t], recurrent), out=h[t + 1])
        return self._hidden(), (h[-1].clone(),)

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Run all time steps back: d_z = d_h' * f'(z)."""
        d_h, weight = self._begin_reverse(d_hidden, d_final[0]), self._weight
        d_all, d_z = self.buffers["d_z"], self.buffers.steps("d_z")
        self._derivative(self.buffers["h"][1:], out=d_all)
        for t in range(len(d_z) - 1, 0, -1):
            d_h[t - 1].addmm_(d_z[t].mul_(d_h[t]), weight)
        d_start = d_z[0].mul_(d_h[0]) @ weight
        d_weight = d_all.flatten(0, 1).t() @ self._h_before().flatten(0, 1)
        return Derivatives(d_all, {"weight_hh": d_weight}, self.buffers["d_h"], (d_start,))

    def _activate(self, z: Tensor, out: Tensor) -> None:
        torch.add(self._minus_one, z.sigmoid_(), alpha=2.0, out=out)

    def _derivative(self, h: Tensor, out: Tensor) -> None:
        """Write d h' / d z for the doubled z."""
        torch.mul(h, h, out=out).mul_(-0.5).add_(0.5)


class ReluRNNKernel(RNNKernel):
    """h' = relu(z)."""

    scales: ClassVar[tuple[float, ...]] = (1.0,)

    def _activate(self, z: Tensor, out: Tensor) -> None:
        torch.clamp_min(z, 0.0, out=out)

    def _derivative(self, h: Tensor, out: Tensor) -> None:
        torch.sign(h, out=out)  # h' is never negative


class LSTMKernel(_Tuned):
    """The LSTM on 2c, so that tanh(c) needs no doubling: 2c' = f * 2c + 2 i g."""

    scales: ClassVar[tuple[float, ...]] = (1.0, 1.0, 2.0, 1.0)
    widths: ClassVar[dict[str, int]] = {"tanh_c": 1, "of_c": 1, "d_z": 4}

    def forward(self, others: Mapping[str, Tensor], state: States) -> tuple[Tensor, States]:
        """Run all time steps."""
        h = self._begin(others["weight_hh"], state[0])
        double_c = self.buffers.get("2c", tuple(self.buffers["h"].shape), self._weight)
        torch.mul(state[1], 2.0, out=double_c[0])
        c, recurrent, minus_one, buffers = (
            self.buffers.steps("2c"),
            self._weight.t(),
            self._minus_one,
            self.buffers,
        )
        steps = zip(
            buffers.steps("zx"), *buffers.gates("zx", 4), buffers.steps("tanh_c"), strict=True
        )
        for t, (z, i, f, g, o, tanh_c) in enumerate(steps):
            z.addmm_(h[t], recurrent).sigmoid_()
            torch.add(minus_one, g, alpha=2.0, out=g)
            torch.mul(f, c[t], out=c[t + 1]).addcmul_(i, g, value=2.0)
            torch.sigmoid(c[t + 1], out=tanh_c)
            torch.add(minus_one, tanh_c, alpha=2.0, out=tanh_c)
            torch.mul(o, tanh_c, out=h[t + 1])
        return self._hidden(), (h[-1].clone(), c[-1] * 0.5)

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Run all time steps back, with d_c the derivative of 2c."""
        d_h, weight = self._begin_reverse(d_hidden, d_final[0]), self._weight
        self._derivatives()
        d_all, d_z, of_o = (
            self.buffers["d_z"],
            self.buffers.steps("d_z"),
            self.buffers.gates("d_z", 4)[3],
        )
        of_ifg = self.buffers.steps("d_z", "ifg", lambda whole: _by_gate(whole)[:, :, :3])
        of_c, forget = self.buffers.steps("of_c"), self.buffers.gates("zx", 4)[1]
        d_c = d_final[1] * 0.5
        d_c_of_gates = d_c.unsqueeze(1)
        for t in range(len(d_z) - 1, -1, -1):
            d_c.addcmul_(d_h[t], of_c[t], value=0.5)
            of_o[t].mul_(d_h[t])
            of_ifg[t].mul_(d_c_of_gates)
            d_c.mul_(forget[t])
            if t:
                d_h[t - 1].addmm_(d_z[t], weight)
        d_weight = d_all.flatten(0, 1).t() @ self._h_before().flatten(0, 1)
        return Derivatives(
            d_all, {"weight_hh": d_weight}, self.buffers["d_h"], (d_z[0] @ weight, d_c * 2.0)
        )

    def _derivatives(self) -> None:
        """Write d 2c' / d z for i f g, d h' / d z for o into ``d_z``, d h' / d c' into ``of_c``."""
        i, f, g, o = self.buffers["zx"].chunk(4, -1)
        of_i, of_f, of_g, of_o = self.buffers["d_z"].chunk(4, -1)
        tanh_c = self.buffers["tanh_c"]
        _sigmoid_backward(g, i, grad_input=of_i).mul_(2.0)
        _sigmoid_backward(self.buffers["2c"][:-1], f, grad_input=of_f)
        _tanh_backward(i, g, grad_input=of_g)
        _sigmoid_backward(tanh_c, o, grad_input=of_o)
        _tanh_backward(o, tanh_c, grad_input=self.buffers["of_c"])


class GRUKernel(_Tuned):
    """The GRU; every derivative of a step is d_h' times a factor that needs no derivative.

    In the reverse buffer the gates lie as (n of zh, r, z, n of zx): the first three belong to h,
    the last three to x.
    """

    scales: ClassVar[tuple[float, ...]] = (1.0, 1.0, 2.0)
    widths: ClassVar[dict[str, int]] = {"zh_n": 1, "d_z": 4}

    def fold(self, weights: LayerWeights) -> LayerWeights:
        """Fold r and z like any gate; n's recurrent bias stays apart, since r acts on it."""
        bias_hh, weight_hh = weights.others["bias_hh"], weights.others["weight_hh"]
        width = 2 * weight_hh.shape[-1]
        bias = torch.cat((weights.bias_ih[:width] + bias_hh[:width], weights.bias_ih[width:] * 2.0))
        return LayerWeights(
            self._scaled(weights.weight_ih),
            bias,
            {"weight_hh": self._scaled(weight_hh), "bias_hh": bias_hh[width:] * 2.0},
        )

    def forward(self, others: Mapping[str, Tensor], state: States) -> tuple[Tensor, States]:
        """Run all time steps."""
        h = self._begin(others["weight_hh"], state[0])
        bias_n, width = others["bias_hh"], 2 * state[0].shape[-1]
        to_rz, to_n = self._weight[:width].t(), self._weight[width:].t()
        rz_steps = self.buffers.steps("zx", "rz", lambda whole: whole[..., :width])
        steps = zip(rz_steps, *self.buffers.gates("zx", 3), self.buffers.steps("zh_n"), strict=True)
        for t, (rz, r, z, n, zh_n) in enumerate(steps):
            torch.addmm(bias_n, h[t], to_n, out=zh_n)
            rz.addmm_(h[t], to_rz).sigmoid_()
            n.addcmul_(r, zh_n).sigmoid_()
            torch.add(self._minus_one, n, alpha=2.0, out=n)
            torch.lerp(n, h[t], z, out=h[t + 1])
        return self._hidden(), (h[-1].clone(),)

    def backward(self, d_hidden: Tensor, d_final: States) -> Derivatives:
        """Run all time steps back."""
        d_h, hidden = self._begin_reverse(d_hidden, d_final[0]), d_hidden.shape[-1]
        self._derivatives()
        d_all, keep = self.buffers["d_z"], self.buffers.gates("zx", 3)[1]
        d_zh = self.buffers.steps("d_z", "zh", lambda whole: whole[..., : 3 * hidden])
        by_gate = self.buffers.steps("d_z", "gates", _by_gate)
        d_h_of_gates = self.buffers.steps("d_h", "gates", lambda whole: whole.unsqueeze(2))
        weight = torch.cat((self._weight[2 * hidden :], self._weight[: 2 * hidden]))  # n, r, z
        for t in range(len(d_h) - 1, 0, -1):
            by_gate[t].mul_(d_h_of_gates[t])
            d_h[t - 1].addcmul_(d_h[t], keep[t]).addmm_(d_zh[t], weight)
        by_gate[0].mul_(d_h_of_gates[0])
        d_start = torch.addmm(d_h[0] * keep[0], d_zh[0], weight)
        of_h = d_all[..., : 3 * hidden].flatten(0, 1)
        d_weight = of_h.t() @ self._h_before().flatten(0, 1)
        d_weight = torch.cat((d_weight[hidden:], d_weight[:hidden]))
        d_bias = of_h[:, :hidden].sum(0)
        return Derivatives(
            d_all[..., hidden:],
            {"weight_hh": d_weight, "bias_hh": d_bias},
            self.buffers["d_h"],
            (d_start,),
        )

    def _derivatives(self) -> None:
        """Write the factors of d_h' into ``d_z``."""
        r, z, n = self.buffers["zx"].chunk(3, -1)
        of_nr, of_r, of_z, of_n = self.buffers["d_z"].chunk(4, -1)
        torch.mul(z, -0.5, out=of_n).add_(0.5)
        _tanh_backward(of_n, n, grad_input=of_n)
        torch.sub(self._h_before(), n, out=of_z)
        _sigmoid_backward(of_z, z, grad_input=of_z)
        _sigmoid_backward(self.buffers["zh_n"], r, grad_input=of_r).mul_(of_n)
        torch.mul(of_n, r, out=of_nr)


def _by_gate(whole: Tensor) -> Tensor:
    """Return (T, B, 4*H) as (T, B, 4, H)."""
    return whole.view(*whole.shape[:2], 4, whole.shape[2] // 4)


TUNED: dict[type[Cell], type[_Tuned]] = {
    RNN: RNNKernel,
    ReluRNN: ReluRNNKernel,
    LSTM: LSTMKernel,
    GRU: GRUKernel,
}


def tuned_kernel(cell: Cell) -> Kernel | None:
    """Return a new kernel for exactly this cell (a subclass may have other equations), or None."""
    kind = TUNED.get(type(cell))
    return None if kind is None else kind()
