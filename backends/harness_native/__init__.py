"""The native kernel: a layer's recurrence in generated C, and products, built on first use.

A library, not a plugin. No framework import here, and none of NumPy: arrays are passed as
addresses. Importing this builds and loads nothing, and traces no cell: ``harness list`` must stay
fast. ``harness_native.library`` has what computes.
"""

from harness_native.build import cpu_digest
from harness_native.cache import known_folder, private_folder
from harness_native.offer import (
    build_native,
    native_missing,
    native_refusal,
    native_runs,
    native_source,
    native_unsupported,
    native_versions,
)
from harness_native.xla import xla_recipe

__all__ = [
    "build_native",
    "cpu_digest",
    "known_folder",
    "native_missing",
    "native_refusal",
    "native_runs",
    "native_source",
    "native_unsupported",
    "native_versions",
    "private_folder",
    "xla_recipe",
]
