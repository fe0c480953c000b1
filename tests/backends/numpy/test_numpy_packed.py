"""Packed products equal the plain one however they are cut, and are cut only where that pays."""

import numpy as np
import pytest

from harness_numpy.recurrence import packed
from harness_numpy.recurrence.packed import SMALL, Packed, pieces

SHAPES = [
    (1, 100, 400),
    (5, 3, 12),
    (32, 128, 512),
    (32, 512, 128),
    (64, 512, 2048),
    (64, 2048, 512),
    (300, 8, 16),
]


@pytest.mark.parametrize(("rows", "depth", "columns"), SHAPES)
@pytest.mark.parametrize("blocks", [1, 4])
@pytest.mark.parametrize("small", [True, False])
def test_the_product_does_not_depend_on_the_pieces(
    rows, depth, columns, blocks, small, monkeypatch
):
    monkeypatch.setattr(packed, "has_small_kernels", lambda: small)
    rng = np.random.default_rng(0)
    product = Packed(rows, depth, columns, "float64", blocks=blocks)
    for _ in range(2):  # the buffers serve again
        x, matrix = rng.normal(size=(rows, depth)), rng.normal(size=(depth, columns))
        product.load(matrix)
        found = np.concatenate(list(product(x)), axis=1)
        np.testing.assert_allclose(found, x @ matrix, rtol=0, atol=1e-12 * depth)


@pytest.mark.parametrize(("rows", "depth", "columns"), SHAPES)
def test_pieces_stay_below_the_limit_and_fill_the_matrix(rows, depth, columns):
    cuts, wide = pieces(rows, depth, columns, small=True)
    assert depth % cuts == columns % wide == 0
    if (cuts, wide) != (1, columns):
        assert rows * (depth // cuts) * wide <= SMALL


def test_nothing_is_cut_for_one_row_many_rows_or_other_processors():
    assert pieces(32, 128, 512, small=True) == (1, 128)
    assert pieces(1, 128, 512, small=True) == pieces(65, 128, 512, small=True) == (1, 512)
    assert pieces(32, 128, 512, small=False) == (1, 512)


def test_several_threads_of_blas_get_whole_products(monkeypatch):
    monkeypatch.setattr(packed, "has_small_kernels", lambda: True)
    assert Packed(32, 128, 512, "float32", threads=2)._matrices.shape == (128, 512)
    assert Packed(32, 128, 512, "float32")._matrices.ndim == 5
