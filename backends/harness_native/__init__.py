"""The native kernel: one layer's recurrence in C, built on first use. A library, not a plugin.

No framework import here, and none of NumPy: arrays are passed as addresses. Importing this builds
and loads nothing.
"""

from harness_native.build import cpu_digest
from harness_native.cache import known_folder, private_folder
from harness_native.library import Adam, Library, Product, keeps_product, layer, library, number
from harness_native.offer import (
    CELLS,
    build_native,
    native_missing,
    native_unsupported,
    native_versions,
)
from harness_native.xla import xla_handlers, xla_recipe

__all__ = [
    "CELLS",
    "Adam",
    "Library",
    "Product",
    "build_native",
    "cpu_digest",
    "keeps_product",
    "known_folder",
    "layer",
    "library",
    "native_missing",
    "native_unsupported",
    "native_versions",
    "number",
    "private_folder",
    "xla_handlers",
    "xla_recipe",
]
