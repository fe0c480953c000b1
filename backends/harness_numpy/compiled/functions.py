"""Functions of one number for SIMD lanes: no table, no branch, two units in the last place.

With y = n log 2 + r and |r| <= log(2) / 2, e^y - 1 = 2^n (e^r - 1) + (2^n - 1), where e^r - 1 is
its Taylor polynomial.
tanh x = (e^2x - 1) / (e^2x + 1), which keeps its digits near 0. NaN stays NaN: a comparison with
it is false, where ``min`` and ``max`` would hide it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload, register_jitable

from harness.contract import Array
from harness_numpy.compiled.jit import MATHS, F, compiled

OPTIONS: Any = {"fastmath": MATHS, "error_model": "numpy"}
sqrt = np.sqrt
inlined: Callable[[F], F] = register_jitable(**OPTIONS)
reordered: Callable[[F], F] = register_jitable(fastmath=MATHS | {"reassoc"}, error_model="numpy")

# log 2 rounded to 16 bits: its products with n are exact in float32 too.
LOG2_HIGH = 0.693145751953125
# log 2 - LOG2_HIGH, with digits that the float64 of log 2 lacks.
LOG2_LOW = 1.428606820309417232121458e-6
BY_LOG2 = 1 / math.log(2)
# The coefficients of polynomials, from the highest; those of float32 are the last ones.
EXPM1 = tuple(1 / math.factorial(order) for order in range(13, 0, -1))
ATANH = tuple(1 / (2 * order + 1) for order in range(17, 0, -1))  # of s^2: s (1 + s^2 / 3 + ...)
ROWS = 8  # of a product's matrix at a time: each sum is read and written once for eight


def in_format(make: Any) -> Any:
    """Return a function whose code depends on the format of its argument.

    Args:
        make: the number format -> the function for it, compiled with the code that calls it.
    """

    def function(x: Any) -> Any:
        raise NotImplementedError

    @overload(function, jit_options=OPTIONS, strict=False)
    def _in_format(x: Any) -> Any:
        return make(np.float64 if x == types.float64 else np.float32)

    return function


@in_format
def power_of_two(real: Any) -> Any:
    """Return 2^x of a whole number, which must be a normal number."""
    whole, shift, bias = _layout(real)
    return lambda x: whole((whole(x) + bias) << shift).view(real)


def _layout(real: Any) -> Any:
    """Return a format's integer type, the place of its exponent, and what is added to that."""
    if real is np.float64:
        return np.int64, np.int64(52), np.int64(1023)
    return np.int32, np.int32(23), np.int32(127)


@in_format
def expm1_small(real: Any) -> Any:
    """Return e^x - 1 for small x."""
    parts = tuple(map(real, EXPM1 if real is np.float64 else EXPM1[-7:]))
    return lambda x: x * _polynomial(parts, x)


@in_format
def atanh_of_third(real: Any) -> Any:
    """Return the inverse of tanh for x within +- 1/3."""
    parts = tuple(map(real, ATANH if real is np.float64 else ATANH[-8:]))
    return lambda x: x + x * (x * x * _polynomial(parts, x * x))


@inlined
def _polynomial(parts: Any, x: Any) -> Any:
    result = parts[0]
    for part in parts[1:]:
        result = part + x * result
    return result


@in_format
def limits(real: Any) -> Any:
    """Return what leaves no room for a fraction when added, and two limits of x.

    Up to the first e^x, e^-x and their shares in a sum are normal: others are slow. Beyond the
    second e^x is infinite.
    """
    values = tuple(
        map(real, (1.5 * 2.0**52, 700, 709) if real is np.float64 else (1.5 * 2.0**23, 80, 88))
    )
    return lambda x: values  # noqa: ARG005 - Numba wants its name


@inlined
def expm1_times(y: Any) -> Any:
    """Return (2^n, e^r - 1) for y from -80 to 88 (-700 to 709): e^y = 2^n (1 + (e^r - 1))."""
    real = type(y)
    magic, _, _ = limits(y)
    n = (y * real(BY_LOG2) + magic) - magic
    r = (y - n * real(LOG2_HIGH)) - n * real(LOG2_LOW)
    return power_of_two(n), expm1_small(r)


@inlined
def within(x: Any, least: Any, most: Any) -> Any:
    """Return x, or the limit that it exceeds."""
    return least if x < least else (most if x > most else x)  # noqa: FURB136 - NaN passes


@inlined
def tanh(x: Any) -> Any:
    """Return the hyperbolic tangent."""
    real = type(x)
    most = real(40)  # beyond 20 (of 2x: 40), tanh is 1 to the last digit
    power, rest = expm1_times(within(x + x, -most, most))
    above = power * rest + (power - real(1))
    return above / (above + real(2))


@inlined
def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + e^-x)."""
    unit, (_, most, _) = type(x)(1), limits(x)
    power, rest = expm1_times(within(-x, -most, most))
    return unit / (unit + (power + power * rest))


@inlined
def exp(x: Any) -> Any:
    """Return e^x; what is below the lower limit counts as the limit."""
    _, least, most = limits(x)
    power, rest = expm1_times(within(x, -least, most))
    return type(x)(np.inf) if x > most else power + power * rest


@inlined
def softplus(x: Any) -> Any:
    """Return log(1 + e^x)."""
    zero, two, (_, most, _) = type(x)(0), type(x)(2), limits(x)
    power, rest = expm1_times(within(-absolute(x), -most, zero))
    small = power + power * rest  # log(1 + s) = 2 atanh(s / (2 + s))
    return relu(x) + two * atanh_of_third(small / (two + small))


@in_format
def log(real: Any) -> Any:
    """Return the natural logarithm; a subnormal number counts as 0."""
    whole, shift, _ = _layout(real)
    # The bits of sqrt(1/2): subtracted, the exponent's field rounds to the nearest power of two.
    root = whole(np.asarray(np.sqrt(0.5), real).view(whole))
    unit, two, zero, high, low = map(real, (1, 2, 0, LOG2_HIGH, LOG2_LOW))
    tiny, infinity, nothing = real(np.finfo(real).tiny), real(np.inf), real(np.nan)

    def function(x: Any) -> Any:
        bits = real(x).view(whole)
        n = whole((bits - root) >> shift)
        part = whole(bits - whole(n << shift)).view(real)
        s, power = (part - unit) / (part + unit), real(n)
        result = power * high + (power * low + two * atanh_of_third(s))
        result = -infinity if x < tiny else result
        result = nothing if x < zero else result
        return x if x == infinity or x != x else result  # noqa: PLR0124 - NaN

    return function


@inlined
def relu(x: Any) -> Any:
    """Return max(x, 0); NaN stays NaN."""
    return type(x)(0) if x < type(x)(0) else x  # noqa: FURB136 - as above


@inlined
def absolute(x: Any) -> Any:
    """Return the absolute value."""
    return -x if x < type(x)(0) else x


@inlined
def positive(x: Any) -> Any:
    """Return 1 if x > 0, else 0."""
    return type(x)(1) if x > type(x)(0) else type(x)(0)


@inlined
def where_positive(d: Any, x: Any) -> Any:
    """Return d if x > 0, else 0."""
    return d if x > type(x)(0) else type(x)(0)


@inlined
def sign(x: Any) -> Any:
    """Return -1, 0 or 1."""
    return positive(x) - positive(-x)


@inlined
def maximum(a: Any, b: Any) -> Any:
    """Return the larger of two; NaN if one is NaN."""
    return a if a > b or a != a else b  # noqa: PLR0124 - NaN


@reordered
def mean(row: Any) -> Any:
    """Return the mean of a row (n,), added in an order that suits SIMD."""
    total = row.dtype.type(0)
    for j in range(row.shape[0]):
        total += row[j]
    return total / row.dtype.type(row.shape[0])


@compiled
def product(x: Array, matrix: Array, out: Array) -> None:
    """Write ``x @ matrix``, (B, K) by (K, N), for time loops of few sequences."""
    depth, zero = matrix.shape[0], out.dtype.type(0)
    for b in range(x.shape[0]):
        row, factor = out[b], x[b]
        row[:] = zero
        for k in range(0, depth - ROWS + 1, ROWS):
            for j in range(row.shape[0]):
                total = row[j]
                for at in range(k, k + ROWS):
                    total += factor[at] * matrix[at, j]
                row[j] = total
        for k in range(depth - depth % ROWS, depth):
            for j in range(row.shape[0]):
                row[j] += factor[k] * matrix[k, j]
