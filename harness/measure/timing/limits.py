"""What an engine could reach on this machine: the rate of large matrix products, and of the chain that is serial.

A limit is a maximum: of several repeats the fastest counts, since anything else on the machine can
only slow one down. The rates of trials themselves are means over all steady blocks, never the best.
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

LARGE = 1024  # rows and columns of the large product: beyond this the rate no longer rises
REPEATS = 4
REPEAT_SECONDS = 0.03
MOST_ROUNDS = 1 << 20

Chain = Callable[[int], Array]


@dataclass(frozen=True)
class Limits:
    """What was measured of one engine; None where it cannot tell.

    Attributes:
        peak_flops_per_second: of large square products.
        chain_seconds: of one forward (B, H) x (H, G*H) and one backward (B, G*H) x (G*H, H)
            product, in a chain; None also for a cell that is not recurrent and needs no such chain.
        reason: why something is unknown.
    """

    peak_flops_per_second: float | None = None
    chain_seconds: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class LimitMeter:
    """Measures the limits of an engine where they are not known yet.

    Attributes:
        backend: the engine.
        execution: device and dtype.
        threads: in use.
        clock: times the products.
        known: name -> seconds of a round that this environment's store holds already; it is not
            measured again.
    """

    backend: Backend
    execution: Execution
    threads: int
    clock: Clock
    known: Mapping[str, Any] = field(default_factory=dict)

    def measure(self, model: Model, batch: int) -> tuple[Limits, dict[str, float]]:
        """Return the limits, and what of them had to be measured: name under which to keep it -> seconds of a round.

        Args:
            model: whose recurrence the chain has the shape of.
            batch: B.
        """
        hidden, wide = model.hidden, len(model.cell.gates) * model.hidden
        engine = (
            f"{self.backend.name}/{self.execution.device}/{self.execution.dtype}/{self.threads}"
        )
        place = f"{engine}/{_digest(query.versions(self.backend))}"
        new: dict[str, float] = {}
        reasons: list[str] = []

        def seconds(name: str, rows: int, matrices: Sequence[Array]) -> float | None:
            if (stored := finite_number(self.known.get(name)) or 0.0) > 0:
                return stored
            try:
                new[name] = self._round_seconds(rows, matrices)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 (a limit that cannot be found costs no trial its result)
                reasons.append(error_text(error))
            return new.get(name)

        large = seconds(f"peak/{place}", LARGE, _circle(LARGE, LARGE)[:1])
        chain = f"chain/{place}/{batch}x{hidden}x{wide}x{hidden}"
        round_seconds = (
            seconds(chain, batch, _circle(hidden, wide)) if model.cell.recurrent else None
        )
        peak = None if large is None else 2 * LARGE**3 / large
        return Limits(peak, round_seconds, "; ".join(dict.fromkeys(reasons)) or None), new

    def _round_seconds(self, rows: int, matrices: Sequence[Array]) -> float:
        columns = len(matrices[0])
        start = np.full((rows, columns), columns**-0.5)
        chain = self.backend.product_chain(start, matrices, self.execution)
        if chain is None:
            raise UnsupportedError(f"backend {self.backend.name!r} offers no chain of products")
        checked_chain(
            chain, start, matrices, self.execution.dtype, f"backend {self.backend.name!r}"
        )
        return fastest_round(chain, self.clock)


def limit_figures(
    limits: Limits, model: Model, batch: int, time_steps: float, step_seconds: float
) -> dict[str, Figure]:
    """Return ``fraction_of_peak`` and ``fraction_of_serial_limit`` of a training step.

    The serial limit of a step is ``layers * time_steps * chain_seconds`` for the products that must
    follow one another, and the rest of its products at the peak. A fraction above 1 is possible: a
    kernel that keeps the weights in cache from one time step to the next beats the chain of
    separate products.

    Args:
        limits: as measured.
        model: the network.
        batch: B.
        time_steps: that the network runs in one training step.
        step_seconds: of a training step.
    """
    if step_seconds <= 0 or limits.peak_flops_per_second is None:
        return {}
    flops = training_flops_per_token(model) * batch * time_steps
    figures: dict[str, Figure] = {
        "fraction_of_peak": flops / step_seconds / limits.peak_flops_per_second
    }
    if limits.chain_seconds is not None:
        rounds = model.layers * time_steps
        serial_flops = rounds * 4 * len(model.cell.gates) * model.hidden**2 * batch
        least = (
            rounds * limits.chain_seconds + (flops - serial_flops) / limits.peak_flops_per_second
        )
        figures["fraction_of_serial_limit"] = least / step_seconds
    return figures


def fastest_round(chain: Chain, clock: Clock) -> float:
    """Return the seconds of a round in the fastest of ``REPEATS`` repeats, each of ``REPEAT_SECONDS`` or more."""
    chain(1)  # buffers, threads
    rounds, seconds = 1, _timed(chain, 1, clock)
    while seconds < REPEAT_SECONDS and rounds < MOST_ROUNDS:
        rounds = min(
            MOST_ROUNDS, max(2 * rounds, round(1.2 * rounds * REPEAT_SECONDS / max(seconds, 1e-6)))
        )
        seconds = _timed(chain, rounds, clock)
    return min([seconds, *(_timed(chain, rounds, clock) for _ in range(REPEATS - 1))]) / rounds


def _timed(chain: Chain, rounds: int, clock: Clock) -> float:
    start = clock.now()
    chain(rounds)
    return clock.now() - start


def _circle(inner: int, outer: int) -> list[Array]:
    """Return a matrix with orthonormal rows, and its transpose: x neither grows nor dies down.

    They are the first rows of a Householder reflection I - 2 v v', which costs no factorisation.
    """
    v = np.random.default_rng(0).standard_normal(outer)
    v /= np.linalg.norm(v)
    rows: Array = np.eye(inner, outer) - 2 * np.outer(v[:inner], v)
    return [rows, np.ascontiguousarray(rows.T)]


def _digest(versions: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(dict(versions), sort_keys=True).encode()).hexdigest()[:8]
