"""How a check passes, fails or does not apply. Messages name the tensor and its error."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.contract import Array, Dtype, Gradients
from harness.contract.wording import error_text, words_of

# The rounding of a few hundred float64 operations stays below 1e-12; 1e-9 allows another order of
# summation. In float32 the same argument gives 1e-4 of the tensor's largest entry.
TOLERANCE: dict[Dtype, float] = {"float64": 1e-9, "float32": 1e-3}
# Errors are relative to the largest entry of the expected tensor, or to this size if it is larger.
SMALLEST_SCALE = 1e-3


class NotApplicable(Exception):  # noqa: N818 - an outcome, not an error
    """The check does not apply here; the message says why."""


@dataclass(frozen=True)
class Check:
    """One check; ``function`` raises ``AssertionError``, whose message names the problem.

    ``variant`` and ``cell`` are empty if a check concerns the whole plugin.
    """

    name: str
    function: Callable[[], None]
    variant: str = ""
    cell: str = ""

    @property
    def label(self) -> str:
        """``variant-cell-name``, without the empty parts."""
        return "-".join(part for part in (self.variant, self.cell, self.name) if part)


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    Attributes:
        name: of the check.
        variant: that was checked, or empty.
        cell: that was checked, or empty.
        passed: True also if the check was skipped.
        message: what is wrong, or why the check was skipped.
        seconds: that it took.
        skipped: the check does not apply.
    """

    name: str
    variant: str
    cell: str
    passed: bool
    message: str
    seconds: float
    skipped: bool = False


def run_check(check: Check) -> CheckResult:
    """Run one check; any exception is a failure of the plugin and becomes the message."""
    begin = time.perf_counter()
    passed, message, skipped = True, "", False
    try:
        check.function()
    except NotApplicable as reason:
        message, skipped = str(reason), True
    except AssertionError as failure:
        passed, message = False, words_of(failure) or error_text(failure)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything
        passed, message = False, error_text(error)
    return CheckResult(
        check.name, check.variant, check.cell, passed, message, time.perf_counter() - begin, skipped
    )


def error_of(actual: Array, expected: Array) -> float:
    """Return the largest difference relative to the largest entry of ``expected``, or infinity."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if not actual.size:
        return 0.0
    difference = float(np.max(np.abs(actual - expected)))
    if not np.isfinite(difference):
        return np.inf
    return difference / max(float(np.max(np.abs(expected))), SMALLEST_SCALE)


def agree(
    tensor: str,
    actual: Array | float,
    expected: Array | float,
    tolerance: float,
    where: object = "",
) -> None:
    """Require equal shapes and a relative error of at most ``tolerance``."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, (
        f"{tensor}: expected shape {expected.shape}, got {actual.shape}{_at(where)}"
    )
    error = error_of(actual, expected)
    assert error <= tolerance, (
        f"{tensor}: relative error {error:.2e} exceeds {tolerance:.0e}{_at(where)}"
    )


def gradients_agree(
    actual: Gradients, expected: Gradients, tolerance: float, where: object = ""
) -> None:
    """Require that loss, hidden gradient and all parameter gradients agree."""
    agree("loss", actual.loss, expected.loss, tolerance, where)
    agree("hidden gradient", actual.hidden, expected.hidden, tolerance, where)
    for name, gradient in expected.parameters.items():
        agree(f"gradient of {name}", actual.parameters[name], gradient, tolerance, where)


def is_array(tensor: str, actual: object, shape: tuple[int, ...], dtype: str) -> None:
    """Require a writable NumPy array of this shape and dtype."""
    assert isinstance(actual, np.ndarray), (
        f"{tensor}: expected a NumPy array, got {type(actual).__name__}"
    )
    assert actual.shape == shape, f"{tensor}: expected shape {shape}, got {actual.shape}"
    assert actual.dtype == dtype, f"{tensor}: expected dtype {dtype}, got {actual.dtype}"
    assert actual.flags.writeable, f"{tensor}: not a copy (the array is read-only)"


def _at(where: object) -> str:
    return f" ({where})" if str(where) else ""
