"""The environment variables that may change what an engine computes, or how fast.

They are recognised by prefix, so that an engine's new variable is recorded too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from fnmatch import fnmatchcase

# Threads, BLAS and allocators; NumPy and Numba; PyTorch and oneDNN; JAX and XLA; peers;
# accelerators.
PREFIXES = (
    "OMP_", "KMP_", "GOMP_", "OPENBLAS_", "GOTO_", "BLIS_", "MKL_", "NUMEXPR_", "VECLIB_",
    "MALLOC_", "MIMALLOC_", "TCMALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_",
    "NPY_", "NUMBA_",
    "ATEN_", "TORCH", "PYTORCH_", "ONEDNN_", "DNNL_", "TRITON_", "INDUCTOR_",
    "JAX_", "XLA_", "NPROC", "TF_", "LIBTPU_",
    "FLAX_", "EQX_", "KERAS_",
    "CUDA", "CUDNN_", "CUBLAS", "NCCL_", "NVIDIA_", "HIP_", "ROCR_", "MIOPEN_", "HSA_",
)  # fmt: skip
# Terraform's, which may hold secrets. TensorFlow's have the same prefix.
FOREIGN = (
    "TF_VAR_", "TF_CLI_", "TF_DATA_DIR", "TF_IN_AUTOMATION", "TF_INPUT", "TF_LOG", "TF_PLUGIN_",
    "TF_REGISTRY_", "TF_WORKSPACE",
)  # fmt: skip
NAMES = (
    "PYTHONDEVMODE", "PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONOPTIMIZE", "PYTHONTRACEMALLOC",
    "PYTHON_CPU_COUNT", "PYTHON_GIL", "PYTHON_JIT",
)  # fmt: skip
# Caches and logs. They are recorded, but do not change a measurement.
NEUTRAL = (
    "*_CACHE_DIR", "*_CACHE_PATH", "*_CACHE_MAXSIZE", "*_LOG_LEVEL", "*_LOG_COMPILES",
    "JAX_COMPILATION_CACHE_*", "JAX_ENABLE_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE_*",
    "JAX_TRACEBACK_FILTERING", "TORCH_EXTENSIONS_DIR", "TORCH_HOME", "TORCH_LOGS", "TORCH_LOGS_*",
    "TORCH_SHOW_CPP_STACKTRACES", "KERAS_HOME",
)  # fmt: skip
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL")  # NVIDIA_API_KEY must not be published


def engine_variables(names: Collection[str] = ()) -> dict[str, str]:
    """Return the variables of this process that engines read, and those of ``names``."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if (name in names or name in NAMES or _is_an_engines(name)) and not _SECRET.search(name)
    }


def deciding_variables() -> dict[str, str]:
    """Return the engine variables that decide a measurement: all but those of caches and logs."""
    return {name: value for name, value in engine_variables().items() if not _is_neutral(name)}


def _is_an_engines(name: str) -> bool:
    return name.startswith(PREFIXES) and not name.startswith(FOREIGN)


def _is_neutral(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in NEUTRAL)
