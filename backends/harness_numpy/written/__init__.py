"""Variant ``vectorised``: NumPy code written from the graph of a cell."""
