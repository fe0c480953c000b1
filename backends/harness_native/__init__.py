"""The native kernel: the recurrence of one layer in C, built on first use. A library of the backends, not a plugin.

No framework import here, and none of NumPy: arrays are passed as addresses. Importing this builds and loads nothing.
"""

from harness_native.library import Layer, Library, layer, library
from harness_native.offer import native_missing, native_unsupported, native_variants, native_versions

__all__ = ["Layer", "Library", "layer", "library", "native_missing", "native_unsupported", "native_variants", "native_versions"]
