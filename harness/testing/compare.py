"""How a check passes, fails or does not apply. Messages name the tensor and the size of its error."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.contract import Dtype
from harness.contract.model import Array
from harness.contract.wording import error_text, words_of

# Rounding of a few hundred float64 operations stays below 1e-12; 1e-9 leaves room for another order
# of summation. In float32 the same argument gives 1e-4 of the tensor's largest entry.
TOLERANCE: dict[Dtype, float] = {"float64": 1e-9, "float32": 1e-3}
# Errors are relative to the largest entry of the expected tensor; below this size they are absolute
# in its unit.
SMALLEST_SCALE = 1e-3


class NotApplicable(Exception):  # noqa: N818 - an outcome, not an error
    """The check has nothing to test here; the text says why."""


@dataclass(frozen=True)
class Check:
    """One thing to verify; ``function`` raises ``AssertionError`` with a message that says what is wrong.

    ``variant`` and ``cell`` are empty where a check concerns the whole plugin.
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
    """What a check found. ``skipped`` results count as passed; ``message`` says why, or what is wrong."""

    name: str
    variant: str
    cell: str
    passed: bool
    message: str
    seconds: float
    skipped: bool = False


def run_check(check: Check) -> CheckResult:
    """Run one check; an exception of any kind is a failure of the plugin, told in the message."""
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


def error_of(found: Array, expected: Array) -> float:
    """Return the largest difference, relative to the largest entry of ``expected``; infinite where not finite."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if not found.size:
        return 0.0
    difference = float(np.max(np.abs(found - expected)))
    return (
        difference / max(float(np.max(np.abs(expected))), SMALLEST_SCALE)
        if np.isfinite(difference)
        else np.inf
    )


def agree(
    tensor: str, found: Array | float, expected: Array | float, tolerance: float, where: object = ""
) -> None:
    """Require equal shapes and an error below ``tolerance``."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, (
        f"{tensor}: expected shape {expected.shape}, got {found.shape}{_at(where)}"
    )
    error = error_of(found, expected)
    assert error <= tolerance, (
        f"{tensor}: relative error {error:.2e} exceeds {tolerance:.0e}{_at(where)}"
    )


def is_array(tensor: str, found: object, shape: tuple[int, ...], dtype: str) -> None:
    """Require a writable NumPy array of this shape and dtype."""
    assert isinstance(found, np.ndarray), (
        f"{tensor}: expected a NumPy array, got {type(found).__name__}"
    )
    assert found.shape == shape, f"{tensor}: expected shape {shape}, got {found.shape}"
    assert found.dtype == dtype, f"{tensor}: expected dtype {dtype}, got {found.dtype}"
    assert found.flags.writeable, f"{tensor}: not a copy of its own (the array is read-only)"


def _at(where: object) -> str:
    return f" ({where})" if str(where) else ""
