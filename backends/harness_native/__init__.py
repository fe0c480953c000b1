"""The native kernel: a layer's recurrence in generated C, and products, built on first use.

A library, not a plugin. No framework import here, and none of NumPy: arrays are passed as
addresses. Importing this builds and loads nothing.
"""

from harness_native.build import cpu_digest
from harness_native.cache import known_folder, private_folder
from harness_native.emit import source
from harness_native.library import (
    Adam,
    CellLibrary,
    Layer,
    Library,
    Product,
    cell_library,
    layer,
    library,
)
from harness_native.offer import (
    build_native,
    native_missing,
    native_refusal,
    native_runs,
    native_unsupported,
    native_versions,
)
from harness_native.xla import xla_recipe, xla_shim

__all__ = [
    "Adam",
    "CellLibrary",
    "Layer",
    "Library",
    "Product",
    "build_native",
    "cell_library",
    "cpu_digest",
    "known_folder",
    "layer",
    "library",
    "native_missing",
    "native_refusal",
    "native_runs",
    "native_unsupported",
    "native_versions",
    "private_folder",
    "source",
    "xla_recipe",
    "xla_shim",
]
