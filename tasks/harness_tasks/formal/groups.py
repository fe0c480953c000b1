"""Multiplication tables of finite groups, by name: ``Z5``, ``S3``, ``A5``, ``A4xZ5``."""

from __future__ import annotations

import itertools
import math
import re
from functools import cache

import numpy as np
from numpy.typing import NDArray

LEAST_ORDER, LARGEST_ORDER = 2, 1000
FACTOR = re.compile(r"(?P<family>[ZSA])(?P<number>[1-9]\d{0,3})")

Table = NDArray[np.int32]  # (n, n): the index of a b, where 0 is the identity


def order(name: str) -> int:
    """Return the number of elements.

    Raises:
        ValueError: the name is not that of a group, or the group is too large.
    """
    product = math.prod(_order(family, number) for family, number in _factors(name))
    if not LEAST_ORDER <= product <= LARGEST_ORDER:
        allowed = f"{LEAST_ORDER} to {LARGEST_ORDER:,} elements"
        raise ValueError(f"the group {name} is too small or too large: it may have {allowed}")
    return product


@cache
def multiplication_table(name: str) -> Table:
    """Return the table of a product of cyclic (Z), symmetric (S) and alternating groups (A).

    Permutations act from the left to the right: a b is first a, then b.
    """
    order(name)
    table = np.zeros((1, 1), dtype=np.int32)
    for family, number in _factors(name):
        factor = _cyclic(number) if family == "Z" else _permutations(family, number)
        sides = len(table) * len(factor)
        pairs = table[:, None, :, None] * len(factor) + factor[None, :, None, :]
        table = pairs.reshape(sides, sides)
    table.flags.writeable = False
    return table


def running_products(table: Table, elements: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the products of the first t elements, for each t: (T, B) -> (T, B).

    It takes log2 T passes over the whole array, since the product is associative.
    """
    products, shift = elements.copy(), 1
    while shift < len(products):
        products[shift:] = table[products[:-shift], products[shift:]]
        shift *= 2
    return products


def _factors(name: str) -> list[tuple[str, int]]:
    matches = [FACTOR.fullmatch(part) for part in name.split("x")]
    if None in matches:
        raise ValueError(f"{name!r} is not a group; write Z5, S3, A5 or a product such as A4xZ5")
    return [(match["family"], int(match["number"])) for match in matches if match]


def _order(family: str, number: int) -> int:
    if family == "Z":
        return number
    permutations = math.factorial(min(number, 20))  # more than enough to be too large
    return permutations if family == "S" else max(1, permutations // 2)


def _cyclic(number: int) -> Table:
    elements = np.arange(number, dtype=np.int32)
    return (elements[:, None] + elements) % number


def _permutations(family: str, number: int) -> Table:
    every = np.array(list(itertools.permutations(range(number))))
    if family == "A":
        first, second = np.triu_indices(number, k=1)
        inversions = (every[:, first] > every[:, second]).sum(axis=1)
        every = every[inversions % 2 == 0]
    codes = every @ number ** np.arange(number)[::-1]  # ascending, since permutations are sorted
    composed = every[:, every]  # [b, a, i] = b(a(i))
    products = composed @ number ** np.arange(number)[::-1]
    return np.searchsorted(codes, products.T).astype(np.int32)
