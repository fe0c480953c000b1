"""``memory``: which of the past inputs a linear decoder finds in the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array
from harness.contract.probes import Curve, Findings, Probe, TrainedNetwork
from harness.probes.decoding import FEWEST_ROWS, Decoder
from harness.probes.reading import Reading, read

MOST_LAGS, FEWEST_LAGS = 100, 10
LAGGED_FRACTION = 0.75  # of the length of the sequences
MOST_TARGETS = 2000  # lags times symbols: the time of the decoders
MOST_SYMBOLS = 256  # of a vocabulary; rarer ones count as one
SHUFFLES = 3
HALF = 0.5


class LinearMemory(Probe):
    """Ridge regression from the state at step t to the input at step t - k (Jaeger 2001).

    A score at lag k, on held-out steps, is R^2 for real inputs and accuracy for symbols. The share
    that is kept is (score - floor) / (1 - floor), clipped at 0. The floor is the largest score of
    shuffled targets; for symbols also that of the same decoder on the current symbol alone (from
    lag 1 on), and the frequency of the most frequent symbol. Lag 0 counts.
    """

    name = "memory"
    figures: ClassVar[Mapping[str, str]] = {
        "capacity": "sum of the kept shares over lags from 0 and input dimensions",
        "reach_steps": "lags from 0 on at which half or more is kept",
        "lags_steps": "lags that were tried",
    }

    def measure(self, network: TrainedNetwork) -> Findings:
        """Return the capacity, and the kept share at each lag."""
        reading = read(network)
        is_token = network.model.inputs.kind == "token"
        length = len(reading.valid)
        lags = max(1, min(MOST_LAGS, int(LAGGED_FRACTION * length)))
        if is_token:
            symbols = min(network.model.inputs.size, MOST_SYMBOLS)
            lags = min(lags, max(FEWEST_LAGS, MOST_TARGETS // symbols))
        rows = reading.valid[lags - 1 :].T  # (n, steps): the steps of a sequence are neighbours
        if np.count_nonzero(rows) < FEWEST_ROWS:
            return Findings(dict.fromkeys(self.figures))
        decoder = Decoder(reading.states[lags - 1 :].swapaxes(0, 1)[rows])
        if is_token:
            kept, curves = _symbols(reading, decoder, rows, lags)
        else:
            kept, curves = _reals(reading, decoder, rows, lags)
        share = kept.mean(axis=1)
        below = np.flatnonzero(share < HALF)
        figures = {
            "capacity": float(kept.sum()),
            "reach_steps": int(below[0]) if below.size else lags,
            "lags_steps": lags,
        }
        return Findings(figures, {"kept": _curve(share), **curves})


def _curve(values: Sequence[float] | Array) -> Curve:
    return Curve("lag_steps", range(len(values)), [float(value) for value in values])


def _past(reading: Reading, rows: NDArray[np.bool_], lags: int, lag: int) -> NDArray[np.generic]:
    """Return the inputs ``lag`` steps before each row."""
    end = len(reading.inputs) - lag
    values: NDArray[np.generic] = reading.inputs[lags - 1 - lag : end].swapaxes(0, 1)[rows]
    return values


def _reals(
    reading: Reading, decoder: Decoder, rows: NDArray[np.bool_], lags: int
) -> tuple[Array, dict[str, Curve]]:
    """Return the kept shares (lags, D) of those D dimensions that vary."""
    rng = np.random.default_rng(0)
    targets = np.concatenate(
        [_past(reading, rows, lags, lag).astype(np.float64) for lag in range(lags)], axis=1
    )
    shares = decoder.r2(targets)
    floors = np.max([decoder.r2(rng.permutation(targets)) for _ in range(SHUFFLES)], axis=0)
    kept = (np.maximum(shares - floors, 0.0) / (1 - floors)).reshape(lags, -1)
    return kept[:, ~np.isnan(kept).all(axis=0)], {}


def _symbols(
    reading: Reading, decoder: Decoder, rows: NDArray[np.bool_], lags: int
) -> tuple[Array, dict[str, Curve]]:
    """Return the kept shares (lags, 1), and the accuracies behind them."""
    rng = np.random.default_rng(0)
    symbols, count = _ranked(reading.inputs)
    ranked = Reading(reading.states, symbols, None, reading.valid)
    current = _past(ranked, rows, lags, 0).astype(np.int64)
    alone = Decoder(np.eye(count)[current])
    kept, accuracies, chances = [], [], []
    for lag in range(lags):
        past = _past(ranked, rows, lags, lag).astype(np.int64)
        accuracy = decoder.accuracy(past, count)
        frequent = float(np.bincount(past).max() / len(past))
        chance = max(frequent, alone.accuracy(past, count)) if lag else frequent
        shuffled = [decoder.accuracy(rng.permutation(past), count) for _ in range(SHUFFLES)]
        floor = max(chance, *shuffled)
        kept.append(max(0.0, accuracy - floor) / (1 - floor) if floor < 1 else 0.0)
        accuracies.append(accuracy)
        chances.append(chance)
    curves = {"accuracy": _curve(accuracies), "chance_accuracy": _curve(chances)}
    return np.array(kept)[:, None], curves


def _ranked(symbols: NDArray[np.generic]) -> tuple[NDArray[np.int64], int]:
    """Return the symbols numbered from the most frequent on, and how many there are."""
    counts = np.bincount(symbols.astype(np.int64).ravel())
    ranks = np.empty(len(counts), np.int64)
    ranks[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    numbered = np.minimum(ranks[symbols.astype(np.int64)], MOST_SYMBOLS - 1)
    return numbered, int(numbered.max()) + 1
