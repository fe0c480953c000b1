"""The number formats of a trial: their precision, and the NumPy dtype of their arrays."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Dtype = Literal["float32", "float64", "bfloat16", "tf32"]
ArrayDtype = Literal["float32", "float64"]

# Bits of the significand, including the implicit bit.
_SIGNIFICAND_BITS: dict[Dtype, int] = {"float64": 53, "float32": 24, "tf32": 11, "bfloat16": 8}
_FLOAT32_BITS = 24


def array_dtype(dtype: Dtype) -> ArrayDtype:
    """Return the dtype of every NumPy array that a trainer of ``dtype`` takes and returns.

    ``bfloat16`` is mixed precision: weights, optimizer and loss in float32, products and
    activations in bfloat16. ``tf32`` is float32 throughout, but matrix products may round their
    factors to the 11 bits of TF32.
    """
    return "float64" if dtype == "float64" else "float32"


def epsilon(dtype: Dtype) -> float:
    """Return the distance from 1 to the next larger number in ``dtype``."""
    return 2.0 ** (1 - _SIGNIFICAND_BITS[dtype])


def rounded(array: NDArray[Any], dtype: Dtype) -> NDArray[np.float64]:
    """Return ``array`` rounded to ``dtype`` (to nearest, ties to even), as float64."""
    narrow = np.asarray(array).astype(array_dtype(dtype))
    dropped = _FLOAT32_BITS - _SIGNIFICAND_BITS[dtype]
    if dropped <= 0:
        return narrow.astype(np.float64)
    bits = narrow.view(np.uint32)
    odd = (bits >> np.uint32(dropped)) & np.uint32(1)
    bits = (bits + np.uint32((1 << (dropped - 1)) - 1) + odd) & ~np.uint32((1 << dropped) - 1)
    finite = np.where(np.isfinite(narrow), bits.view(np.float32), narrow)
    return finite.astype(np.float64)
