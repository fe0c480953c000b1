"""One thread, two JAX devices and quick compiling for every test: set before any test imports an engine.

Workers inherit it, but for what the harness sets for each trial.
"""

import os

from threadpoolctl import threadpool_limits

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
threadpool_limits(1)  # without xdist a plugin of pytest may have loaded a BLAS before this file
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "2")  # for data-parallel trainers in the tests' own process
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
