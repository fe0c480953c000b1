"""The minimal GRU and LSTM (Feng et al. 2024), whose gates see the input alone: linear in the state."""

from __future__ import annotations

from harness.contract import LinearCell, Ops, Tensor


class MinGRU(LinearCell):
    """Minimal gated recurrent unit: gates z h, no recurrent weights.

    With zx = W x + b, all (B, H)::

        z = sigmoid(zx_z)        g = zx_h
        h' = (1 - z) * h + z * g

    Feng et al. 2024, "Were RNNs All We Needed?" (arXiv:2410.01201), section 3.1, without their log-space form, which
    replaces g by a positive function of zx_h. Deviation in letters only: z is the share of the *new* value.
    """

    name = "mingru"
    gates = ("z", "h")

    def coefficients(self, ops: Ops, zx: Tensor) -> tuple[Tensor, Tensor]:
        """Return (1 - z, z * g)."""
        zx_z, g = ops.split(zx, 2)
        z = ops.sigmoid(zx_z)
        return 1.0 - z, z * g

    def coefficients_gradient(self, ops: Ops, zx: Tensor, d_a: Tensor, d_b: Tensor) -> Tensor:
        """Return d_zx, with d_z = d_b * g - d_a and d_g = d_b * z."""
        zx_z, g = ops.split(zx, 2)
        z = ops.sigmoid(zx_z)
        return ops.concatenate([(d_b * g - d_a) * z * (1.0 - z), d_b * z])


class MinLSTM(LinearCell):
    """Minimal long short-term memory: gates f i h, no recurrent weights and no separate cell state.

    With zx = W x + b, all (B, H)::

        f, i = sigmoid(zx_f), sigmoid(zx_i)        g = zx_h
        f' = f / (f + i)                           i' = i / (f + i) = 1 - f'
        h' = f' * h + i' * g

    Feng et al. 2024 (arXiv:2410.01201), section 3.2, with the normalised gates that keep the scale of h independent
    of T, and without their log-space form.
    """

    name = "minlstm"
    gates = ("f", "i", "h")
    memory_gate = "f"
    input_gate = "i"

    def coefficients(self, ops: Ops, zx: Tensor) -> tuple[Tensor, Tensor]:
        """Return (f', (1 - f') * g)."""
        _, _, a, g = self._gates(ops, zx)
        return a, (1.0 - a) * g

    def coefficients_gradient(self, ops: Ops, zx: Tensor, d_a: Tensor, d_b: Tensor) -> Tensor:
        """Return d_zx, by way of d f' / d zx_f = f' i' (1 - f) and d f' / d zx_i = -f' i' (1 - i)."""
        f, i, a, g = self._gates(ops, zx)
        d_gate = (d_a - d_b * g) * a * (1.0 - a)
        return ops.concatenate([d_gate * (1.0 - f), d_gate * (i - 1.0), d_b * (1.0 - a)])

    @staticmethod
    def _gates(ops: Ops, zx: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        zx_f, zx_i, g = ops.split(zx, 3)
        f, i = ops.sigmoid(zx_f), ops.sigmoid(zx_i)
        return f, i, f / (f + i), g
