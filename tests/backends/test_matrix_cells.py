"""Engines that lack the operations of matrices refuse a cell that takes them, by their names."""

from importlib.util import find_spec

import pytest

from builders import trial_of
from harness.cells import GatedDelta
from harness.contract import UnsupportedError
from harness.measure.setup import check_backend
from harness.plugins import load_plugins

LACKING = {
    "numpy:numba": "the writer of NumPy code has no outer, which gated_delta takes",
    "numpy:native": "the kernel has no outer, which gated_delta takes",
    "torch:native": "the kernel has no outer, which gated_delta takes",
    "torch:fused": "torch:fused has no outer, which gated_delta takes",
    "jax:fused": "jax:fused has no outer, which gated_delta takes",
}
FASTEST = {"numpy": "vectorised", "torch": "loop", "jax": "scan"}
SOURCES = [("numpy", "c"), ("numpy", "numba"), ("numpy", "numpy"), ("torch", "torch")]


def backend_of(name):
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    return load_plugins().backend(name)


@pytest.mark.parametrize(("engine", "reason"), LACKING.items(), ids=LACKING)
def test_a_variant_that_lacks_an_operation_names_it(engine, reason):
    name, _, variant = engine.partition(":")
    backend = backend_of(name)
    if variant in backend.missing_variants():
        pytest.skip(f"{engine} cannot run here")
    with pytest.raises(UnsupportedError, match=f"not as '.*': {reason}"):
        check_backend(backend, trial_of(engine, cell="gated_delta"), load_plugins())


@pytest.mark.parametrize(("name", "variant"), FASTEST.items())
def test_the_fastest_variant_is_the_next_best(name, variant):
    trial = trial_of(f"{name}:fastest", cell="gated_delta", steps=10_000)
    assert backend_of(name).fastest_variant(GatedDelta(), trial) == variant


@pytest.mark.parametrize(("name", "language"), [*SOURCES, ("jax", "jax")])
def test_no_code_is_written_without_the_operation(name, language):
    with pytest.raises(UnsupportedError, match="has no outer, which gated_delta takes"):
        backend_of(name).source(GatedDelta(), language)
