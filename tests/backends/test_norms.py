"""Gradient norms that float32 cannot square, or of ten million numbers, on each engine.

Against NumPy's arithmetic in extended precision.
"""

from importlib.util import find_spec

import numpy as np
import pytest

from harness.cells import ReluRNN
from harness.contract import Missing, Optimizer
from harness.plugins import load_plugins
from harness.testing.backend.suite import checks_for_backend
from harness.testing.compare import run_check

MANY = 10_000_000
SHAPES = ((300, 20), (7,), (31, 3))
SIZES = [1e37, 1e30, 1e20, 1e18, 1.0, 1e-11, 1e-18, 1e-25, 1e-28]


def on_numpy(rule, arrays):
    from harness_numpy.update import clip, global_norm

    vector = np.concatenate([array.ravel() for array in arrays])
    with np.errstate(all="ignore"):
        norm = global_norm(vector)
        clipped = clip(rule, vector, norm)
    return norm, clipped, vector


def on_torch(rule, arrays):
    torch = pytest.importorskip("torch")
    from harness_torch.update import _clip

    gradients = [torch.from_numpy(array.copy()) for array in arrays]
    norm, clipped = _clip(rule, gradients, [])
    return (
        float(norm),
        bool(clipped),
        np.concatenate([gradient.numpy().ravel() for gradient in gradients]),
    )


def on_jax(rule, arrays):
    jax = pytest.importorskip("jax")
    from harness_jax.device import find_device, settings
    from harness_jax.update import clip

    dtype = "float64" if arrays[0].dtype == np.float64 else "float32"
    with settings(find_device("cpu"), dtype):
        named = {str(number): jax.numpy.asarray(array) for number, array in enumerate(arrays)}
        gradients, norm, clipped = jax.jit(lambda given: clip(rule, given))(named)
        return (
            float(norm),
            bool(clipped),
            np.concatenate([np.asarray(gradients[key]).ravel() for key in named]),
        )


ENGINES = {"numpy": on_numpy, "torch": on_torch, "jax": on_jax}
each_engine = pytest.mark.parametrize("engine", ENGINES)


def drawn(dtype=np.float32):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(dtype) for shape in SHAPES]


def exact_norm(arrays):
    return np.sqrt(sum(np.sum(np.square(array.astype(np.longdouble))) for array in arrays))


def check(engine, arrays, tolerance, share):
    """Clip at ``share`` of the norm, and compare with the definition."""
    exact = exact_norm(arrays)
    norm, clipped, found = ENGINES[engine](Optimizer(clip_norm=float(exact * share)), arrays)
    assert norm == pytest.approx(float(exact), rel=tolerance)
    assert clipped == (share < 1)
    expected = np.concatenate([array.ravel() for array in arrays]).astype(np.longdouble) * min(
        share, 1.0
    )
    assert np.max(np.abs(found - expected)) <= 5 * tolerance * np.max(np.abs(expected))


@each_engine
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("share", [0.25, 2.0])
def test_norm_and_clipping_are_right_if_float32_can_hold_them(engine, size, share):
    check(engine, [array * np.float32(size / 100) for array in drawn()], 1e-6, share)


@each_engine
@pytest.mark.parametrize("size", [1e300, 1e160, 1e-160, 1e-290])
def test_so_they_are_in_float64(engine, size):
    check(engine, [array * size for array in drawn(np.float64)], 1e-12, 0.25)


@each_engine
@pytest.mark.parametrize("limit", [1.0, 1e-3, 1e-10])
def test_a_large_norm_never_clips_to_zero(engine, limit):
    norm, clipped, found = ENGINES[engine](
        Optimizer(clip_norm=limit), [np.full(4, 1.5e38, np.float32)]
    )
    assert norm == pytest.approx(3e38, rel=1e-6)
    assert clipped
    np.testing.assert_allclose(found, limit / 2, rtol=1e-5)


@each_engine
@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 3e38])
def test_a_norm_that_float32_cannot_hold_is_not_finite(engine, odd):
    arrays = [np.full((3, 2), odd, np.float32), np.ones(5, np.float32)]
    assert not np.isfinite(ENGINES[engine](Optimizer(), arrays)[0])


@each_engine
def test_the_norm_of_zeros_is_zero(engine):
    norm, clipped, found = ENGINES[engine](Optimizer(clip_norm=1.0), [np.zeros(5, np.float32)])
    assert (norm, clipped) == (0.0, False)
    assert not found.any()


@each_engine
@pytest.mark.parametrize("kind", ["equal", "random"])
def test_the_norm_of_ten_million_numbers_is_right(engine, kind):
    rng = np.random.default_rng(0)
    shapes = ((800, 10_000), (MANY - 8_000_000,))
    if kind == "equal":
        arrays = [np.full(shape, 0.1, np.float32) for shape in shapes]
    else:
        arrays = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    norm, _, _ = ENGINES[engine](Optimizer(), arrays)
    assert norm == pytest.approx(float(exact_norm(arrays)), rel=4e-6)


@pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed")
def test_weights_that_stand_for_two_count_twice_on_jax():
    import jax

    from harness_jax.update import clip

    gradients = {"a": jax.numpy.full(3, 1e25, "float32"), "b": jax.numpy.full(2, 2e25, "float32")}
    norm = clip(Optimizer(), gradients, {"a": 2.0, "b": np.array([1.0, 2.0])})[1]
    assert float(norm) == pytest.approx(np.sqrt(6 + 4 + 8) * 1e25, rel=1e-6)


def test_gradients_that_count_twice_do_so_on_torch():
    torch = pytest.importorskip("torch")
    from harness_torch.update import _clip

    gradients = [torch.full((3,), 1e25), torch.full((2,), 2e25)]
    assert float(_clip(Optimizer(), gradients, gradients[:1])[0]) == pytest.approx(
        np.sqrt(6 + 8) * 1e25, rel=1e-6
    )


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        *[("numpy", variant) for variant in ("vectorised", "native")],
        *[("torch", variant) for variant in ("library", "fused", "native")],
        *[("jax", variant) for variant in ("scan", "native")],
        *[("flax", "linen"), ("keras-torch", "layers")],
    ],
)
def test_gradients_that_explode_are_clipped_on_every_engine(name, variant):
    plugins = load_plugins()
    backend = plugins.backend(name)
    if isinstance(backend.availability(), Missing):
        pytest.skip(f"{name} is not installed")
    every = checks_for_backend(
        backend, plugins.backend("numpy"), [ReluRNN()], variants=[variant], grid="none"
    )
    (check,) = [
        check
        for check in every
        if check.name == "gradients_that_explode_over_400_steps_are_clipped"
    ]
    result = run_check(check)
    assert result.passed, result.message
    assert not result.skipped
