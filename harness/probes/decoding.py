"""Ridge regression from states to a target, with its strength chosen on validation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.contract import Array

STRENGTHS = 10.0 ** np.arange(-9, 2, 1.5)  # relative to the mean eigenvalue of the covariance
FITTED, CHOSEN = 0.6, 0.8  # parts of the sequences: to fit, to choose the strength, to judge
FEWEST_ROWS = 30


class Decoder:
    """Decodes targets from the same features (n, F). The rows of a sequence are neighbours.

    The first 60 % of the rows fit, the next 20 % choose the strength, the last 20 % judge. Features
    are scaled to unit variance; those that do not vary are left out.
    """

    def __init__(self, features: Array) -> None:
        self._first, self._second = int(FITTED * len(features)), int(CHOSEN * len(features))
        fitted = features[: self._first]
        spread = fitted.std(axis=0)
        varies = spread > 1e-12 * max(float(np.abs(fitted).max(initial=0.0)), 1e-300)
        scaled = (features[:, varies] - fitted[:, varies].mean(axis=0)) / spread[varies]
        covariance = scaled[: self._first].T @ scaled[: self._first]
        values, vectors = np.linalg.eigh(covariance)
        self._values = np.maximum(values, 0.0)
        self._scores = scaled @ vectors  # (n, F) in the basis of the covariance

    def r2(self, targets: Array) -> Array:
        """Return R^2 of each target (n, K) on the rows that judge: (K,), clipped at 0.

        The strength is chosen for each target. A target that does not vary has NaN.
        """
        predictions = self._predictions(targets)
        judged = targets[self._second :]
        errors = ((judged - predictions) ** 2).mean(axis=0)
        variances = judged.var(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = 1 - errors / variances
        clipped: Array = np.where(variances > 0, np.maximum(shares, 0.0), np.nan)
        return clipped

    def accuracy(self, classes: NDArray[np.integer], count: int) -> float:
        """Return the share of the rows that judge whose class (n,) below ``count`` is found."""
        predictions = self._predictions(np.eye(count)[classes], shared=True)
        judged = classes[self._second :]
        return float((predictions.argmax(axis=1) == judged).mean())

    def _predictions(self, targets: Array, *, shared: bool = False) -> Array:
        """Return the predictions of the rows that judge, at the strength with the least error.

        With ``shared``, one strength serves all targets.
        """
        fitted = targets[: self._first]
        mean = fitted.mean(axis=0)
        products = self._scores[: self._first].T @ (fitted - mean)
        choosing = slice(self._first, self._second)
        least = np.full(targets.shape[1], np.inf)
        best = np.zeros_like(products)
        for strength in STRENGTHS * (self._values.mean() if self._values.size else 1.0):
            coefficients = products / (self._values + strength)[:, None]
            predictions = self._scores[choosing] @ coefficients + mean
            errors = ((predictions - targets[choosing]) ** 2).mean(axis=0)
            errors = np.full_like(errors, errors.mean()) if shared else errors
            is_better = errors < least
            best[:, is_better] = coefficients[:, is_better]
            least = np.minimum(least, errors)
        judged: Array = self._scores[self._second :] @ best + mean
        return judged
