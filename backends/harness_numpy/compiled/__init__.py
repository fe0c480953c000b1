"""Variant ``numba``: pointwise work, loss and Adam compiled. Its modules import Numba.

One thread: the large products stay NumPy's, so that BLAS's pool is the only one.
"""
