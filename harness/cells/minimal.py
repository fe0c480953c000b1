"""The minimal GRU and LSTM (Feng et al. 2024): gates see only the input; linear in the state."""

from __future__ import annotations

from collections.abc import Mapping

from harness.contract import LinearCell, Ops, Tensor


class MinGRU(LinearCell):
    """Minimal gated recurrent unit: gates z h, no recurrent weights.

    With zx = W x + b, all (B, H)::

        z = sigmoid(zx_z)        g = zx_h
        h' = (1 - z) * h + z * g

    Feng et al. 2024, "Were RNNs All We Needed?" (arXiv:2410.01201), section 3.1, without their
    log-space form, which replaces g by a positive function of zx_h. As in that paper, and unlike
    in ``gru``, z is the share of the *new* value.
    """

    name = "mingru"
    gates = ("z", "h")
    memory_gate = "z"
    memory_sign = -1

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

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return 1 - z."""
        return ops.sigmoid(-biases["z"])


class MinLSTM(LinearCell):
    """Minimal long short-term memory: gates f i h, no recurrent weights and no separate cell state.

    With zx = W x + b, all (B, H)::

        f, i = sigmoid(zx_f), sigmoid(zx_i)        g = zx_h
        f' = f / (f + i)                           i' = i / (f + i) = 1 - f'
        h' = f' * h + i' * g

    Feng et al. 2024 (arXiv:2410.01201), section 3.2, with the normalised gates that keep the scale
    of h independent of T, and without their log-space form.
    """

    name = "minlstm"
    gates = ("f", "i", "h")
    memory_gate = "f"
    input_gate = "i"

    def coefficients(self, ops: Ops, zx: Tensor) -> tuple[Tensor, Tensor]:
        """Return (f', i' * g)."""
        zx_f, zx_i, g = ops.split(zx, 3)
        f, i = self._shares(ops, zx_f, zx_i)
        return f, i * g

    def coefficients_gradient(self, ops: Ops, zx: Tensor, d_a: Tensor, d_b: Tensor) -> Tensor:
        """Return d_zx, from d f' / d zx_f = f' i' (1 - f) and d f' / d zx_i = -f' i' (1 - i)."""
        zx_f, zx_i, g = ops.split(zx, 3)
        f, i = self._shares(ops, zx_f, zx_i)
        d_share = (d_a - d_b * g) * f * i
        return ops.concatenate(
            [d_share * ops.sigmoid(-zx_f), -d_share * ops.sigmoid(-zx_i), d_b * i]
        )

    def retention(self, ops: Ops, biases: Mapping[str, Tensor]) -> Tensor:
        """Return f'."""
        return self._shares(ops, biases["f"], biases["i"])[0]

    @staticmethod
    def _shares(ops: Ops, zx_f: Tensor, zx_i: Tensor) -> tuple[Tensor, Tensor]:
        """Return f' and i'.

        ``f / (f + i)`` is 0 / 0 if both gates round to 0. Numerator and denominator are therefore
        multiplied by ``(1 + e^-zx_f) (1 + e^-zx_i) e^m``, with m = min(0, zx_f, zx_i). Then no
        exponent is positive, and the denominator is at least 1.
        """
        lower = -ops.relu(-zx_f)
        m = lower - ops.relu(lower - zx_i)
        scale = ops.exp(m)
        weight_f, weight_i = scale + ops.exp(m - zx_i), scale + ops.exp(m - zx_f)
        total = weight_f + weight_i
        return weight_f / total, weight_i / total
