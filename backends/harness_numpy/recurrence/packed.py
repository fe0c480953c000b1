"""A matrix packed for products with few rows, in pieces that BLAS multiplies without copying.

OpenBLAS copies both factors of a product into its own order. If one factor has few rows, this takes
half the time. On processors with AVX-512 it skips the copy for products of at most a million
multiplications (53 against 105 GFLOP/s, lstm 128/32 and 512/64). The matrix is therefore cut into
contiguous pieces below that size.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from harness.contract import Array, ArrayDtype

SMALL = 1_000_000  # OpenBLAS 0.3.17 and later, ``sgemm_small_matrix_permit`` of SKYLAKEX
ARCHITECTURES = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # with the small kernels
WIDTH = 16  # columns of a piece: a multiple of what one AVX-512 register holds
MOST_ROWS = 64  # with more rows, the copy pays
DEEPEST_CUT = 8


class Packed:
    """``x @ matrix`` into a buffer that every call overwrites.

    Attributes:
        out: (blocks, B, N / blocks), the product's columns in ``blocks`` pieces.
    """

    def __init__(
        self,
        rows: int,
        depth: int,
        columns: int,
        dtype: ArrayDtype,
        *,
        blocks: int = 1,
        threads: int = 1,
    ) -> None:
        width = columns // blocks
        cuts, wide = pieces(rows, depth, width, small=threads == 1 and has_small_kernels())
        count = width // wide
        self._shape = (cuts, depth // cuts, blocks, count, wide)
        self._matrices: Array = np.empty((cuts, blocks, count, depth // cuts, wide), dtype)
        self.out: Array = np.empty((blocks, rows, width), dtype)
        self._sums: Array = (
            self.out[None] if cuts == 1 else np.empty((cuts, blocks, rows, width), dtype)
        )
        self._into = self._sums.reshape(cuts, blocks, rows, count, wide).transpose(0, 1, 3, 2, 4)
        self._columns = (rows, cuts, 1, 1, depth // cuts)
        if cuts == blocks == count == 1:
            self._into, self._matrices = self.out[0], self._matrices[0, 0, 0]

    def load(self, matrix: Array) -> None:
        """Copy (K, N) in."""
        if self._matrices.ndim == 2:  # noqa: PLR2004 - in one piece
            self._matrices[...] = matrix
        else:
            self._matrices[...] = matrix.reshape(self._shape).transpose(0, 2, 3, 1, 4)

    def __call__(self, x: Array) -> Array:
        """Return ``out``, the product of ``x`` (B, K)."""
        cuts = len(self._sums)
        if cuts > 1:
            x = x.reshape(self._columns).transpose(1, 2, 3, 0, 4)
        np.matmul(x, self._matrices, out=self._into)
        if cuts > 1:
            np.add.reduce(self._sums, axis=0, out=self.out)
        return self.out


def pieces(rows: int, depth: int, columns: int, *, small: bool) -> tuple[int, int]:
    """Return the number of sums, and the columns of a piece: 1 and all if cutting gains nothing."""
    if small and 1 < rows <= MOST_ROWS:
        for cuts in (number for number in range(1, DEEPEST_CUT + 1) if depth % number == 0):
            limit = SMALL // (rows * (depth // cuts))
            fitting = [
                wide for wide in range(WIDTH, min(columns, limit) + 1, WIDTH) if columns % wide == 0
            ]
            if fitting:
                return cuts, fitting[-1]
    return 1, columns


@cache
def has_small_kernels() -> bool:
    """Say whether NumPy's BLAS multiplies small matrices without packing them here."""
    from threadpoolctl import threadpool_info

    return any(pool.get("architecture") in ARCHITECTURES for pool in threadpool_info())
