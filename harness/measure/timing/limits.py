"""The limits of an engine on this machine: the rate of large products, and of a serial chain.

A limit is a maximum: the fastest of several repeats counts, because other load can only slow a
repeat down. The rates of trials are means over all steady blocks, never the best block.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.contract import Array, Backend, Execution, Model, UnsupportedError
from harness.contract.records.record import Figure
from harness.contract.wording import error_text
from harness.measure.timing.clock import Clock
from harness.measure.timing.speed import training_flops_per_token
from harness.plugins import query
from harness.plugins.validation import checked_chain, finite_number

LARGE = 1024  # rows and columns of the large product; the rate does not rise beyond this size
REPEATS = 4
REPEAT_SECONDS = 0.03
MOST_ROUNDS = 1 << 20

ProductChain = Callable[[int], Array]


@dataclass(frozen=True)
class Limits:
    """The measured limits of one engine; None if unknown.

    Attributes:
        peak_flops_per_second: of large square products.
        chain_seconds: of one forward (B, H) x (H, G*H) and one backward (B, G*H) x (G*H, H) product
            in a chain; None also for a cell that is not recurrent and needs no such chain.
        reason: why a limit is unknown.
    """

    peak_flops_per_second: float | None = None
    chain_seconds: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class LimitMeter:
    """Measures the limits of an engine that are not stored yet.

    Attributes:
        backend: the engine.
        execution: device and dtype.
        threads: in use.
        clock: times the products.
        stored: name -> seconds of a round that is already measured in this environment; it is not
            measured again.
    """

    backend: Backend
    execution: Execution
    threads: int
    clock: Clock
    stored: Mapping[str, Any] = field(default_factory=dict)

    def measure(self, model: Model, batch: int) -> tuple[Limits, dict[str, float]]:
        """Return the limits, and name -> seconds of a round for those that were measured now.

        Args:
            model: the chain has the shape of its recurrence.
            batch: B.
        """
        hidden, wide = model.hidden, model.recurrent_rows()
        execution = self.execution
        engine = f"{self.backend.name}/{execution.device}/{execution.dtype}/{self.threads}"
        environment = f"{engine}/{_digest(query.versions(self.backend))}"
        new: dict[str, float] = {}
        reasons: list[str] = []

        def seconds(name: str, rows: int, matrices: Sequence[Array]) -> float | None:
            if (stored := finite_number(self.stored.get(name)) or 0.0) > 0:
                return stored
            try:
                new[name] = self._round_seconds(rows, matrices)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 (an unknown limit must not fail a trial)
                reasons.append(error_text(error))
            return new.get(name)

        large = seconds(f"peak/{environment}", LARGE, _orthonormal_pair(LARGE, LARGE)[:1])
        round_seconds = None
        if model.cell.recurrent:
            name = f"chain/{environment}/{batch}x{hidden}x{wide}x{hidden}"
            round_seconds = seconds(name, batch, _orthonormal_pair(hidden, wide))
        peak = None if large is None else 2 * LARGE**3 / large
        return Limits(peak, round_seconds, "; ".join(dict.fromkeys(reasons)) or None), new

    def _round_seconds(self, rows: int, matrices: Sequence[Array]) -> float:
        columns = len(matrices[0])
        start = np.full((rows, columns), columns**-0.5)
        chain = self.backend.product_chain(start, matrices, self.execution)
        if chain is None:
            raise UnsupportedError(f"backend {self.backend.name!r} offers no chain of products")
        label = f"backend {self.backend.name!r}"
        checked_chain(chain, start, matrices, self.execution.dtype, label)
        return fastest_round(chain, self.clock)


def limit_figures(
    limits: Limits, model: Model, batch: int, time_steps: float, step_seconds: float
) -> dict[str, Figure]:
    """Return ``fraction_of_peak`` and ``fraction_of_serial_limit`` of a training step.

    The serial limit of a step is ``layers * time_steps * chain_seconds`` for the products that must
    follow one another, plus all other products at the peak rate. A fraction above 1 is possible: a
    kernel that keeps the weights in cache between time steps is faster than a chain of separate
    products.

    Args:
        limits: as measured.
        model: the network.
        batch: B.
        time_steps: of one training step.
        step_seconds: duration of a training step.
    """
    if step_seconds <= 0 or limits.peak_flops_per_second is None:
        return {}
    flops = training_flops_per_token(model) * batch * time_steps
    fraction = flops / step_seconds / limits.peak_flops_per_second
    figures: dict[str, Figure] = {"fraction_of_peak": fraction}
    if limits.chain_seconds is not None:
        rounds = model.layers * time_steps
        serial_flops = rounds * 4 * model.recurrent_rows() * model.hidden * batch
        serial_seconds = rounds * limits.chain_seconds
        other_seconds = (flops - serial_flops) / limits.peak_flops_per_second
        figures["fraction_of_serial_limit"] = (serial_seconds + other_seconds) / step_seconds
    return figures


def fastest_round(chain: ProductChain, clock: Clock) -> float:
    """Return the seconds of a round, the fastest of ``REPEATS`` repeats of ``REPEAT_SECONDS``."""
    chain(1)  # prepare buffers and threads
    rounds, seconds = 1, _timed(chain, 1, clock)
    while seconds < REPEAT_SECONDS and rounds < MOST_ROUNDS:
        wanted = round(1.2 * rounds * REPEAT_SECONDS / max(seconds, 1e-6))
        rounds = min(MOST_ROUNDS, max(2 * rounds, wanted))
        seconds = _timed(chain, rounds, clock)
    return min([seconds, *(_timed(chain, rounds, clock) for _ in range(REPEATS - 1))]) / rounds


def _timed(chain: ProductChain, rounds: int, clock: Clock) -> float:
    start = clock.now()
    chain(rounds)
    return clock.now() - start


def _orthonormal_pair(inner: int, outer: int) -> list[Array]:
    """Return a matrix with orthonormal rows, and its transpose, so that x keeps its size.

    The rows are the first rows of a Householder reflection I - 2 v v', which needs no
    factorisation.
    """
    v = np.random.default_rng(0).standard_normal(outer)
    v /= np.linalg.norm(v)
    rows: Array = np.eye(inner, outer) - 2 * np.outer(v[:inner], v)
    return [rows, np.ascontiguousarray(rows.T)]


def _digest(versions: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(versions), sort_keys=True).encode()).hexdigest()[:8]
