"""Remembered addresses: only while the array lives, and only of C-contiguous arrays."""

import gc

import numpy as np
import pytest

from harness_numpy import native


def test_an_address_is_that_of_the_array_also_the_second_time():
    array = np.zeros(4)
    place = array.__array_interface__["data"][0]
    assert [native.address(array), native.address(array), native.address(array[1:])] == [
        place,
        place,
        place + 8,
    ]
    assert native.address(None) is None


def test_an_array_that_is_gone_leaves_nothing_behind():
    before = set(native._addresses)
    array = np.zeros(4)
    native.address(array)
    assert set(native._addresses) == before | {id(array)}
    del array
    gc.collect()
    assert set(native._addresses) <= before


def test_an_address_of_another_array_with_the_same_identity_is_not_believed(monkeypatch):
    old, new = np.zeros(4), np.ones(4)
    native.address(old)
    monkeypatch.setitem(native._addresses, id(new), native._addresses[id(old)])
    assert native.address(new) == new.__array_interface__["data"][0]


def test_an_array_that_is_not_contiguous_is_refused_every_time():
    array = np.zeros((4, 4))[:, ::2]
    for _ in range(2):
        with pytest.raises(ValueError, match="C-contiguous"):
            native.address(array)
