"""Functions of one number for SIMD lanes: no table, no branch, two units in the last place.

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

from harness.contract import Array
from harness_numpy.compiled.jit import MATHS, compiled

# log 2 rounded to 16 bits: its products with n are exact in float32 too.
LOG2_HIGH = 0.693145751953125
# log 2 - LOG2_HIGH, with digits that the float64 of log 2 lacks.
LOG2_LOW = 1.428606820309417232121458e-6
FACTORIALS = tuple(1 / math.factorial(order) for order in range(14))
OPTIONS: Any = {"fastmath": MATHS, "error_model": "numpy"}
ROWS = 8  # of a product's matrix at a time: each sum is read and written once for eight
REORDERED: Any = {**OPTIONS, "fastmath": MATHS | {"reassoc"}}


def expm1_times(y: Any) -> Any:
    """Return (2^n, e^r - 1) for y from -80 to 88 (-700 to 709): e^y = 2^n (1 + (e^r - 1))."""
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


# Within these limits e^x and its share in a sum are normal numbers: others are slow.
LIMITS = {"float32": 80, "float64": 700}


def exp(x: Any) -> Any:
    """Return e^x; what is below the lower limit counts as the limit."""
    raise NotImplementedError


@overload(exp, jit_options=OPTIONS)
def _exp(x: Any) -> Any:
    real = _real(x)
    least, infinity = real(-LIMITS[real.__name__]), real(np.inf)
    most = real(709 if real is np.float64 else 88)

    def function(x: Any) -> Any:
        y = least if x < least else (most if x > most else x)  # noqa: FURB136 - as above
        power, rest = expm1_times(y)
        return infinity if x > most else power + power * rest

    return function


def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e^-x)."""
    raise NotImplementedError


@overload(sigmoid, jit_options=OPTIONS)
def _sigmoid(x: Any) -> Any:
    real = _real(x)
    most, unit = real(LIMITS[real.__name__]), real(1)

    def function(x: Any) -> Any:
        y = -most if x > most else (most if x < -most else -x)
        power, rest = expm1_times(y)
        return unit / (unit + (power + power * rest))

    return function


# atanh(s) = s (1 + s^2 / 3 + s^4 / 5 + ...)
ODD = tuple(1 / (2 * order + 1) for order in range(18))


def atanh_of_third(s: Any) -> Any:
    """Return the inverse of tanh for s within +- 1/3."""
    raise NotImplementedError


@overload(atanh_of_third, jit_options=OPTIONS)
def _atanh_of_third(s: Any) -> Any:
    if s == types.float64:
        a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17 = ODD[1:]

        def function(s: Any) -> Any:
            q = s * s
            upper = a12 + q * (a13 + q * (a14 + q * (a15 + q * (a16 + q * a17))))
            middle = a6 + q * (a7 + q * (a8 + q * (a9 + q * (a10 + q * (a11 + q * upper)))))
            lower = a1 + q * (a2 + q * (a3 + q * (a4 + q * (a5 + q * middle))))
            return s + s * (q * lower)

        return function
    b1, b2, b3, b4, b5, b6, b7, b8 = (np.float32(each) for each in ODD[1:9])

    def single(s: Any) -> Any:
        q = s * s
        lower = b1 + q * (b2 + q * (b3 + q * (b4 + q * (b5 + q * (b6 + q * (b7 + q * b8))))))
        return s + s * (q * lower)

    return single


def softplus(x: Any) -> Any:
    """Return log(1 + e^x)."""
    raise NotImplementedError


@overload(softplus, jit_options=OPTIONS)
def _softplus(x: Any) -> Any:
    real = _real(x)
    least, two, zero = real(-LIMITS[real.__name__]), real(2), real(0)

    def function(x: Any) -> Any:
        size = x if x < zero else -x
        power, rest = expm1_times(least if size < least else size)  # noqa: FURB136 - as above
        small = power + power * rest  # log(1 + s) = 2 atanh(s / (2 + s))
        return (zero if x < zero else x) + two * atanh_of_third(small / (two + small))  # noqa: FURB136

    return function


def log(x: Any) -> Any:
    """Return the natural logarithm; a subnormal number counts as 0."""
    raise NotImplementedError


@overload(log, jit_options=OPTIONS)
def _log(x: Any) -> Any:
    is_double = x == types.float64
    real: Any = np.float64 if is_double else np.float32
    whole: Any = np.int64 if is_double else np.int32
    shift, unit, two, zero = whole(52 if is_double else 23), real(1), real(2), real(0)
    # The bits of sqrt(1/2): subtracted, the exponent's field rounds to the nearest power of two.
    root = whole(np.asarray(np.sqrt(0.5), real).view(whole))
    high, low = real(LOG2_HIGH), real(LOG2_LOW)
    tiny, infinity, nothing = real(np.finfo(real).tiny), real(np.inf), real(np.nan)

    def function(x: Any) -> Any:
        bits = real(x).view(whole)
        n = whole((bits - root) >> shift)
        part = whole(bits - whole(n << shift)).view(real)
        s = (part - unit) / (part + unit)
        power = real(n)
        result = power * high + (power * low + two * atanh_of_third(s))
        result = -infinity if x < tiny else result
        result = nothing if x < zero else result
        return x if x == infinity or x != x else result  # noqa: PLR0124 - NaN

    return function


def sqrt(x: Any) -> Any:
    """Return the square root."""
    raise NotImplementedError


@overload(sqrt, jit_options=OPTIONS)
def _sqrt(x: Any) -> Any:  # noqa: ARG001 - Numba wants its name
    def function(x: Any) -> Any:
        return np.sqrt(x)

    return function


def relu(x: Any) -> Any:
    """Return max(x, 0); NaN stays NaN."""
    raise NotImplementedError


@overload(relu, jit_options=OPTIONS)
def _relu(x: Any) -> Any:
    zero = _real(x)(0)

    def function(x: Any) -> Any:
        return zero if x < zero else x  # noqa: FURB136 - max would hide NaN

    return function


def absolute(x: Any) -> Any:
    """Return the absolute value."""
    raise NotImplementedError


@overload(absolute, jit_options=OPTIONS)
def _absolute(x: Any) -> Any:
    zero = _real(x)(0)

    def function(x: Any) -> Any:
        return -x if x < zero else x

    return function


def positive(x: Any) -> Any:
    """Return 1 if x > 0, else 0."""
    raise NotImplementedError


@overload(positive, jit_options=OPTIONS)
def _positive(x: Any) -> Any:
    zero, unit = _real(x)(0), _real(x)(1)

    def function(x: Any) -> Any:
        return unit if x > zero else zero

    return function


def where_positive(d: Any, x: Any) -> Any:
    """Return d if x > 0, else 0."""
    raise NotImplementedError


@overload(where_positive, jit_options=OPTIONS)
def _where_positive(d: Any, x: Any) -> Any:  # noqa: ARG001 - as above
    zero = _real(x)(0)

    def function(d: Any, x: Any) -> Any:
        return d if x > zero else zero

    return function


def sign(x: Any) -> Any:
    """Return -1, 0 or 1."""
    raise NotImplementedError


@overload(sign, jit_options=OPTIONS)
def _sign(x: Any) -> Any:
    zero, unit, minus = _real(x)(0), _real(x)(1), _real(x)(-1)

    def function(x: Any) -> Any:
        return unit if x > zero else (minus if x < zero else zero)

    return function


def maximum(a: Any, b: Any) -> Any:
    """Return the larger of two; NaN if one is NaN."""
    raise NotImplementedError


@overload(maximum, jit_options=OPTIONS)
def _maximum(a: Any, b: Any) -> Any:  # noqa: ARG001 - as above
    def function(a: Any, b: Any) -> Any:
        return a if a > b or a != a else b  # noqa: PLR0124 - NaN

    return function


def mean(row: Any) -> Any:
    """Return the mean of a row (n,), added in an order that suits SIMD."""
    raise NotImplementedError


@overload(mean, jit_options=REORDERED)
def _mean(row: Any) -> Any:
    real = _real(row.dtype)

    def function(row: Any) -> Any:
        total = real(0)
        for j in range(row.shape[0]):
            total += row[j]
        return total / real(row.shape[0])

    return function


@compiled
def product(x: Array, matrix: Array, out: Array) -> None:
    """Write ``x @ matrix``, (B, K) by (K, N), for time loops of few sequences."""
    depth, zero = matrix.shape[0], out.dtype.type(0)
    for b in range(x.shape[0]):
        row, factor = out[b], x[b]
        row[:] = zero
        for k in range(0, depth - ROWS + 1, ROWS):
            x0, x1, x2, x3 = factor[k], factor[k + 1], factor[k + 2], factor[k + 3]
            x4, x5, x6, x7 = factor[k + 4], factor[k + 5], factor[k + 6], factor[k + 7]
            for j in range(row.shape[0]):
                low = (
                    x0 * matrix[k, j]
                    + x1 * matrix[k + 1, j]
                    + x2 * matrix[k + 2, j]
                    + x3 * matrix[k + 3, j]
                )
                high = (
                    x4 * matrix[k + 4, j]
                    + x5 * matrix[k + 5, j]
                    + x6 * matrix[k + 6, j]
                    + x7 * matrix[k + 7, j]
                )
                row[j] += low + high
        for k in range(depth - depth % ROWS, depth):
            for j in range(row.shape[0]):
                row[j] += factor[k] * matrix[k, j]


def _real(x: Any) -> Any:
    return np.float64 if x == types.float64 else np.float32
