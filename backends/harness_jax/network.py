"""The function: input product -> stacked cells -> readout -> loss. Pure, to be traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from harness.contract import Execution, Model
from harness_jax.batch import Arrays
from harness_jax.recurrence.embedding import embedded
from harness_jax.traced import States, Traced, mean_loss
from harness_jax.variants import VARIANTS

Weights = dict[str, Array]

BLOCKS = range(16, 7, -1)  # time steps; the first that divides T is taken
SHORTEST_IN_BLOCKS = 32  # time steps
SMALLEST_IN_BLOCKS = 1024  # numbers in h: B times H


class Window(NamedTuple):
    """Consecutive time steps of a batch.

    Attributes:
        inputs: (T, B) token ids or (T, B, D) vectors.
        probes: (T, layers, B, H) zeros whose gradient is d loss / d h_t, or None.
        steps: (T,) the index of each time step in its batch.
    """

    inputs: Array
    probes: Array | None
    steps: Array


class Network(Traced):
    """One model executed by one variant, in one number format, with or without checkpoints."""

    def __init__(self, model: Model, execution: Execution) -> None:
        self.model, self._execution = model, execution
        self._engine = VARIANTS[execution.variant].engine()
        self._layer = self._engine.layer(execution.threads)

    @property
    def may_fail(self) -> bool:
        """Whether a step of the variant may fail while it runs."""
        return self._engine.may_fail

    def outputs(
        self,
        weights: Weights,
        inputs: Array,
        state: States,
        key: Array | None = None,
        probes: Array | None = None,
    ) -> tuple[Array, States]:
        """Return outputs (T, B, K) and the final state: see ``Traced``; ``weights`` are by name."""

        def advance(state: States, window: Window) -> tuple[States, Array]:
            outputs, state = self._run(weights, window, state, key)
            return state, outputs

        state, outputs = _in_chunks(advance, state, _window(inputs, probes), self._chunk(inputs))
        return outputs, state

    def loss(
        self,
        weights: Weights,
        probes: Array | None,
        arrays: Arrays,
        state: States,
        key: Array | None,
    ) -> tuple[Array, States]:
        """Return the mean loss over the positions that count, and the final state.

        The gradient ends at the first time step of the batch: it is not taken by ``state``.
        """

        def advance(state: States, now: tuple[Window, Arrays]) -> tuple[States, Array]:
            window, arrays = now
            outputs, state = self._run(weights, window, state, key)
            return state, mean_loss(self.model, outputs, arrays)[None]

        chunk = self._chunk(arrays.weights)
        # No prevent_cse: the elimination that would undo a checkpoint does not enter loops.
        body = advance if chunk is None else jax.checkpoint(advance, prevent_cse=False)
        over = _window(arrays.inputs, probes), arrays
        final, losses = _in_chunks(
            body, lax.stop_gradient(state), over, chunk or self._block(*arrays.weights.shape)
        )
        return losses.sum(), final

    def _chunk(self, over_time: Array) -> int | None:
        return self._execution.chunk(len(over_time))

    def _block(self, steps: int, size: int) -> int | None:
        """Return the time steps per block for a variant that trains in blocks; None: all at once.

        On a CPU the arrays of a few time steps stay in the cache from projection to weight
        gradients: measured 1.0 to 1.5 times as fast at 128/32 and 512/64, but 0.8 at batch 1, where
        loops cost more.
        """
        local = self._engine.in_blocks and self._execution.device == "cpu"
        if not local or steps < SHORTEST_IN_BLOCKS or size * self.model.hidden < SMALLEST_IN_BLOCKS:
            return None
        # If none divides T, the rest needs a second program.
        return next((block for block in BLOCKS if steps % block == 0), BLOCKS[-1])

    def _run(
        self, weights: Weights, window: Window, state: States, key: Array | None
    ) -> tuple[Array, States]:
        """Return outputs (T, B, K) in the weights' dtype, and the final state."""
        values, finals, exact = window.inputs, [], weights["bias_out"].dtype
        if self.model.embedding is not None:
            values = weights["embedding"][values]
        kind = jnp.bfloat16 if self._execution.dtype == "bfloat16" else exact
        for index in range(self.model.layers):
            zx = _input_product(
                values, weights[f"weight_ih_l{index}"], weights[f"bias_ih_l{index}"], kind
            )
            own = _recurrent_weights(weights, index)
            start = tuple(part[index].astype(kind) for part in state)
            probe = None if window.probes is None else window.probes[:, index].astype(kind)
            values, final = self._layer(self.model.cell, zx, own, start, probe)
            finals.append(final)
            if key is not None and index < self.model.layers - 1:
                values = _dropout(
                    values, self.model.dropout, jax.random.fold_in(key, index), window.steps
                )
        readout = (
            _product(values, weights[self.model.readout_weight]).astype(exact) + weights["bias_out"]
        )
        return readout, tuple(jnp.stack(parts) for parts in zip(*finals, strict=True))


def _recurrent_weights(weights: Weights, layer: int) -> Weights:
    """Return the weights of a layer's products and its vectors, by name without the layer."""
    end = f"_l{layer}"
    names = [name.removesuffix(end) for name in weights if name.endswith(end)]
    return {name: weights[name + end] for name in names if name not in {"weight_ih", "bias_ih"}}


def _window(inputs: Array, probes: Array | None) -> Window:
    by_time = None if probes is None else probes.swapaxes(0, 1)
    return Window(inputs, by_time, jnp.arange(len(inputs)))


def _in_chunks(
    body: Callable[[States, Any], tuple[States, Array]], state: States, over: Any, chunk: int | None
) -> tuple[States, Array]:
    """Return the result of ``lax.scan`` over windows of ``chunk`` steps, the last one shorter.

    Args:
        body: takes a state and a window, and returns the next state and an array whose first axis
            is to be joined.
        state: the initial state.
        over: arrays, each (T, ...).
        chunk: None for a single window of all time steps.
    """
    steps = len(jax.tree.leaves(over)[0])
    if chunk is None or chunk >= steps:
        return body(state, over)
    whole = steps - steps % chunk
    windows = jax.tree.map(lambda part: part[:whole].reshape(-1, chunk, *part.shape[1:]), over)
    state, joined = lax.scan(body, state, windows)
    joined = joined.reshape(-1, *joined.shape[2:])
    if whole < steps:
        state, rest = body(state, jax.tree.map(lambda part: part[whole:], over))
        joined = jnp.concatenate([joined, rest])
    return state, joined


def _input_product(inputs: Array, weight_ih: Array, bias_ih: Array, kind: Any) -> Array:
    """Return zx (T, B, G*H) for all time steps at once; for tokens, a gather of biased columns."""
    if jnp.issubdtype(inputs.dtype, jnp.floating):
        product = _product(inputs.astype(kind), weight_ih)
        return (product.astype(bias_ih.dtype) + bias_ih).astype(kind)
    return embedded(weight_ih.T + bias_ih, inputs).astype(kind)


def _product(values: Array, weight: Array) -> Array:
    """Return ``values @ weight.T`` in the dtype of ``values``."""
    return values @ weight.astype(values.dtype).T


def _dropout(values: Array, rate: float, key: Array, steps: Array) -> Array:
    """Drop (T, B, H) values by masks that depend on the key and each time step's index alone."""

    def kept(step: Array) -> Array:
        return jax.random.bernoulli(jax.random.fold_in(key, step), 1.0 - rate, values.shape[1:])

    return jnp.where(jax.vmap(kept)(steps), values / (1.0 - rate), 0.0)
