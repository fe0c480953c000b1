"""Update rules, clipping and schedules: NumPy against ``torch.optim``, and edge cases."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness.contract import Optimizer
from harness_numpy.update import BLOCK, Update, clip, global_norm

TOLERANCE = 1e-12  # float64 over a few steps, another order of operations
N = BLOCK + 100  # more than one block
RULES = {
    "sgd": (Optimizer("sgd", 0.1), "SGD", {}),
    "momentum": (Optimizer("sgd", 0.1, momentum=0.9), "SGD", {"momentum": 0.9}),
    "rmsprop": (Optimizer("rmsprop", 0.01, decay=0.95), "RMSprop", {"alpha": 0.95, "eps": 1e-8}),
    "adagrad": (Optimizer("adagrad", 0.1, epsilon=1e-10), "Adagrad", {"eps": 1e-10}),
    "adam": (Optimizer("adam", 0.01), "Adam", {"eps": 1e-8}),
    "betas": (
        Optimizer("adam", 0.01, beta1=0.8, beta2=0.95, epsilon=1e-3),
        "Adam",
        {"betas": (0.8, 0.95), "eps": 1e-3},
    ),
    "adamw": (
        Optimizer("adam", 0.01, weight_decay=0.1),
        "AdamW",
        {"weight_decay": 0.1, "eps": 1e-8},
    ),
}
gradients = arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e3, 1e3))


@pytest.mark.parametrize("rule", RULES)
def test_update_rules_equal_torch_optim(rule):
    torch = pytest.importorskip("torch")
    optimizer, name, settings_ = RULES[rule]
    rng = np.random.default_rng(0)
    found = rng.normal(size=N)
    expected = torch.from_numpy(found.copy()).requires_grad_()
    theirs, ours = (
        getattr(torch.optim, name)([expected], lr=optimizer.learning_rate, **settings_),
        Update(optimizer, found),
    )
    for _ in range(6):
        gradient = rng.normal(size=N) * rng.choice([0, 1e-6, 1, 100], N)
        expected.grad = torch.from_numpy(gradient.copy())
        theirs.step()
        ours.apply(found, gradient)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("ours", "name", "settings_"),
    [
        (
            Optimizer("rmsprop", 0.01, decay=0.9, epsilon=1e-3, initial_square=0.5),
            "rmsprop",
            {"decay": 0.9, "eps": 1e-3, "initial_scale": 0.5, "eps_in_sqrt": True},
        ),
        (
            Optimizer("adagrad", 0.1, epsilon=1e-3),
            "adagrad",
            {"eps": 1e-3, "initial_accumulator_value": 0.0},
        ),
        (Optimizer("adam", 0.01, epsilon=1e-3), "adam", {"eps": 0.0, "eps_root": 1e-3}),
    ],
    ids=["rmsprop", "adagrad", "adam"],
)
def test_epsilon_in_the_root_equals_optax(ours, name, settings_):
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    rng = np.random.default_rng(0)
    found = rng.normal(size=50)
    update = Update(replace(ours, epsilon_in_root=True), found)
    with jax.enable_x64():
        expected = jax.numpy.asarray(found)
        theirs = getattr(optax, name)(ours.learning_rate, **settings_)
        state = theirs.init(expected)
        for _ in range(6):
            gradient = rng.normal(size=found.size) * 0.1
            change, state = theirs.update(jax.numpy.asarray(gradient), state, expected)
            expected = optax.apply_updates(expected, change)
            update.apply(found, gradient)
        np.testing.assert_allclose(found, np.asarray(expected), rtol=0, atol=TOLERANCE)


def test_a_schedule_begins_where_it_is_told():
    rule = Optimizer(schedule="exponential", schedule_factor=0.5, schedule_start=10)
    rates = [rule.learning_rate_at(step) for step in range(13)]
    assert rates == [1e-3] * 11 + [5e-4, 2.5e-4]


@pytest.mark.parametrize("rule", RULES)
def test_updates_stay_in_float32_and_start_afresh_after_reset(rule):
    p, g = np.ones(5, np.float32), np.linspace(-1, 1, 5, dtype=np.float32)
    update = Update(RULES[rule][0], p)
    update.apply(p, g)
    once = p.copy()
    update.reset()
    p[:] = 1
    update.apply(p, g)
    assert p.dtype == np.float32
    np.testing.assert_array_equal(p, once)


@pytest.mark.parametrize(
    ("ours", "scheduler", "settings_"),
    [
        (Optimizer(learning_rate=0.3), "ConstantLR", {"factor": 1.0}),
        (
            Optimizer(learning_rate=0.3, schedule="exponential", schedule_factor=0.9),
            "ExponentialLR",
            {"gamma": 0.9},
        ),
        (
            Optimizer(
                learning_rate=0.3, schedule="exponential", schedule_steps=4, schedule_factor=0.5
            ),
            "StepLR",
            {"step_size": 4, "gamma": 0.5},
        ),
        (
            Optimizer(learning_rate=0.3, schedule="cosine", schedule_steps=12),
            "CosineAnnealingLR",
            {"T_max": 12},
        ),
        (
            Optimizer(learning_rate=0.3, warmup_steps=5),
            "LinearLR",
            {"start_factor": 1 / 5, "total_iters": 4},
        ),
    ],
    ids=["constant", "exponential", "steps", "cosine", "warm-up"],
)
def test_schedules_equal_torch_lr_scheduler(ours, scheduler, settings_):
    torch = pytest.importorskip("torch")
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    schedule = getattr(torch.optim.lr_scheduler, scheduler)(theirs, **settings_)
    for step in range(13):
        assert ours.learning_rate_at(step) == pytest.approx(schedule.get_last_lr()[0], abs=1e-15)
        theirs.step()
        schedule.step()


def test_cosine_stays_at_zero_after_its_end():
    assert Optimizer(schedule="cosine", schedule_steps=3).learning_rate_at(100) == 0.0


def test_the_schedule_counts_updates_from_zero():
    p = np.zeros(1)
    update = Update(Optimizer("sgd", 1.0, schedule="exponential", schedule_factor=0.5), p)
    positions = []
    for _ in range(3):
        update.apply(p, np.ones(1))
        positions.append(p[0])
    assert positions == [-1.0, -1.5, -1.75]


@settings(deadline=None)
@given(gradients, st.floats(1e-3, 1e3))
def test_clip_norm_bounds_the_norm_and_keeps_the_direction(gradient, limit):
    clipped = gradient.copy()
    norm = global_norm(gradient)
    changed = clip(Optimizer(clip_norm=limit), clipped, norm)
    assert changed == (norm > limit)
    np.testing.assert_allclose(
        clipped, gradient * min(1.0, limit / norm) if norm else gradient, rtol=1e-12
    )


@settings(deadline=None)
@given(gradients, st.floats(1e-3, 1e3))
def test_clip_value_bounds_each_element(gradient, limit):
    clipped = gradient.copy()
    changed = clip(Optimizer(clip_value=limit), clipped, global_norm(gradient))
    np.testing.assert_array_equal(clipped, np.clip(gradient, -limit, limit))
    assert changed == (clipped != gradient).any()


@pytest.mark.parametrize("size", [1e30, 1e-30, 1.0, 0.0])
def test_the_norm_survives_squares_that_overflow_or_underflow(size):
    with np.errstate(over="ignore"):
        norm = global_norm(np.full(4, size, np.float32))
    assert norm == pytest.approx(2 * size, rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_norm_of_a_gradient_that_is_not_finite_is_not_finite(bad):
    assert not np.isfinite(global_norm(np.array([1.0, bad], np.float32)))
