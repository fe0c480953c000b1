"""exp, tanh and sigmoid for SIMD lanes: no table, no branch, two units in the last place.

With y = n log 2 + r and |r| <= log(2) / 2, e^y - 1 = 2^n (e^r - 1) + (2^n - 1), where e^r - 1 is
its Taylor polynomial.
tanh x = (e^2x - 1) / (e^2x + 1), which keeps its digits near 0. NaN stays NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from harness_numpy.compiled.jit import MATHS

# log 2 rounded to 16 bits: its products with n are exact in float32 too.
LOG2_HIGH = 0.693145751953125
# log 2 - LOG2_HIGH, with digits that the float64 of log 2 lacks.
LOG2_LOW = 1.428606820309417232121458e-6
FACTORIALS = tuple(1 / math.factorial(order) for order in range(14))
OPTIONS: Any = {"fastmath": MATHS, "error_model": "numpy"}


def expm1_times(y: Any) -> Any:
    """Return (2^n, e^r - 1) for y within +-80: e^y = 2^n (1 + (e^r - 1))."""
    raise NotImplementedError


@overload(expm1_times, jit_options=OPTIONS)
def _expm1_times(y: Any) -> Any:
    return _pieces64() if y == types.float64 else _pieces32()


def _pieces32() -> Any:
    real = np.float32
    magic, by_log2 = (
        real(1.5 * 2.0**23),
        real(1 / math.log(2)),
    )  # adding ``magic`` rounds to an integer
    high, low, unit = real(LOG2_HIGH), real(LOG2_LOW), real(1)
    a2, a3, a4, a5, a6, a7 = (real(FACTORIALS[order]) for order in range(2, 8))

    def pieces(y: Any) -> Any:
        n = (y * by_log2 + magic) - magic
        r = (y - n * high) - n * low
        power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
        return power, r * (unit + r * (a2 + r * (a3 + r * (a4 + r * (a5 + r * (a6 + r * a7))))))

    return pieces


def _pieces64() -> Any:
    magic, by_log2, high, low = 1.5 * 2.0**52, 1 / math.log(2), LOG2_HIGH, LOG2_LOW
    a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13 = FACTORIALS[2:]

    def pieces(y: Any) -> Any:
        n = (y * by_log2 + magic) - magic
        r = (y - n * high) - n * low
        power = np.int64((np.int64(n) + np.int64(1023)) << np.int64(52)).view(np.float64)
        upper = a8 + r * (a9 + r * (a10 + r * (a11 + r * (a12 + r * a13))))
        return power, r * (
            1.0 + r * (a2 + r * (a3 + r * (a4 + r * (a5 + r * (a6 + r * (a7 + r * upper))))))
        )

    return pieces


def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent."""
    raise NotImplementedError


@overload(tanh, jit_options=OPTIONS)
def _tanh(x: Any) -> Any:
    real = np.float64 if x == types.float64 else np.float32
    unit, two, most = (
        real(1),
        real(2),
        real(40 if x == types.float64 else 20),
    )  # beyond, tanh is 1 to the last digit

    def function(x: Any) -> Any:
        y = two * x
        y = -most if y < -most else (most if y > most else y)  # noqa: FURB136 - min and max would hide NaN
        power, rest = expm1_times(y)
        above = power * rest + (power - unit)
        return above / (above + two)

    return function


def exp(x: Any) -> Any:
    """Return e^x for x <= 0; what is below -80 counts as -80."""
    raise NotImplementedError


@overload(exp, jit_options=OPTIONS)
def _exp(x: Any) -> Any:
    real = np.float64 if x == types.float64 else np.float32
    least = real(-80)

    def function(x: Any) -> Any:
        power, rest = expm1_times(least if x < least else x)  # noqa: FURB136 - as above
        return power + power * rest

    return function
