"""The variant ``numba``: pointwise work, loss and Adam compiled. Importing a module of this package imports Numba.

One thread: the large products stay NumPy's, so that BLAS's pool is the only one.
"""
