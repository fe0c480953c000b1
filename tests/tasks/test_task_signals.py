"""Digits and forecast: against scikit-learn, scipy's integration and plain loops."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from harness.contract import UnavailableError, UsageError
from harness.testing.compare import run_check
from harness.testing.tasks import checks_for_task
from harness_tasks import Digits, Forecast
from harness_tasks.signals import digits, series

KINDS = (
    (Digits, {}, None),
    (Digits, {"scan": "pixels", "permuted": True}, (64, 70)),
    (Forecast, {}, None),
    (Forecast, {"series": "narma10"}, None),
)


def rng(seed=0):
    return np.random.default_rng(seed)


def prepared(task, length, seed=0, **options):
    instance = task(task.Options(**options), length)
    instance.check()
    instance.prepare(np.random.SeedSequence(seed))
    return instance


@pytest.mark.slow
@pytest.mark.parametrize(("task", "options", "lengths"), KINDS)
def test_the_kit_passes(task, options, lengths):
    if task is Digits:
        pytest.importorskip("sklearn", reason="the extra digits is not installed")
    failures = {}
    for check in checks_for_task(task, options, lengths, constant_baseline=True):
        outcome = run_check(check)
        if not outcome.passed:
            failures[check.name] = outcome.message
    assert failures == {}


def flat(batch, reading):
    """Return images (N, 64) and classes."""
    images = batch.inputs[:reading].transpose(1, 0, 2).reshape(batch.size, 64)
    return images, batch.targets[-1]


def test_digits_are_the_images_of_scikit_learn_each_once():
    datasets = pytest.importorskip("sklearn.datasets", reason="the extra digits is not installed")
    images, classes = datasets.load_digits(return_X_y=True)
    splits = prepared(Digits, 11).splits
    read = [flat(split, 8) for split in splits]
    pairs = [(*image, c) for x, y in read for image, c in zip(16 * x, y, strict=True)]
    assert sorted(pairs) == sorted((*x, c) for x, c in zip(images, classes, strict=True))
    for split in splits:
        assert (split.inputs[8:] == 0).all()
        assert split.mask[-1].all()
        assert not split.mask[:-1].any()


@pytest.mark.slow
def test_a_logistic_regression_reads_rows_and_permuted_pixels_equally_well():
    linear = pytest.importorskip("sklearn.linear_model", reason="the extra digits is not installed")
    accuracies = []
    for options, length in (({}, 8), ({"scan": "pixels", "permuted": True}, 64)):
        splits = prepared(Digits, length, **options).splits
        model = linear.LogisticRegression(max_iter=2000).fit(*flat(splits.training, length))
        held_out = [flat(split, length) for split in (splits.validation, splits.test)]
        accuracies.append(np.mean([model.score(*each) for each in held_out]))
    assert accuracies[0] > 0.94
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.01)


def test_permuted_pixels_are_in_one_order_for_all_images():
    pytest.importorskip("sklearn", reason="the extra digits is not installed")
    plain, permuted = (
        flat(prepared(Digits, 64, scan="pixels", permuted=each).splits.training, 64)[0]
        for each in (False, True)
    )
    assert not np.array_equal(plain, permuted)
    order = [plain.T.tolist().index(pixel) for pixel in permuted.T.tolist()]
    np.testing.assert_array_equal(plain[:, order], permuted)


def test_without_scikit_learn_a_line_names_the_extra(monkeypatch):
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    task = Digits(Digits.Options(), 8)
    for call in (task.check, lambda: task.prepare(np.random.SeedSequence(0))):
        with pytest.raises(UnavailableError, match=r"pip install 'rnn-harness\[digits\]'"):
            call()


@pytest.mark.parametrize(
    ("task", "options", "length", "allowed"),
    [
        (Digits, {"scan": "pixels"}, 8, "use at least 64"),
        (Digits, {}, 7, "use 8 to 1,000,000"),
        (Forecast, {}, 20, "use 21 to 1,000"),
        (Forecast, {}, 1001, "use 21 to 1,000"),
    ],
)
def test_a_length_out_of_range_is_refused_with_the_range(task, options, length, allowed):
    with pytest.raises(UsageError, match=f"length {length:,} is .*{allowed}"):
        task(task.Options(**options), length)


def test_mackey_glass_is_what_scipy_integrates():
    start, units, delay = 0.9, 102, 17
    pieces = [lambda t: np.full_like(np.asarray(t, float), start)]
    expected, x = [], start
    for first in range(0, units, delay):  # the method of steps: each piece is an ordinary equation
        known = pieces[-1]

        def slope(t, x, known=known):
            then = known(t - delay)
            return 0.2 * then / (1 + then**10) - 0.1 * x

        span = (first, first + delay)
        solution = solve_ivp(slope, span, [x], "DOP853", rtol=1e-11, atol=1e-12, dense_output=True)
        pieces.append(lambda t, of=solution.sol: of(t)[0])
        expected.extend(pieces[-1](np.arange(first, first + delay)))
        x = solution.y[0, -1]
    computed = series.integrated(np.array([start, 1.2]), units)
    np.testing.assert_allclose(computed[:, 0], expected, rtol=0, atol=1e-6)


def test_mackey_glass_has_its_published_range():
    x = series.mackey_glass(rng(), 1500, 8)  # the attractor, as every paper draws it
    assert 0.2 < x.min() < 0.45
    assert 1.25 < x.max() < 1.4
    assert x.mean() == pytest.approx(0.93, abs=0.02)


def test_narma_is_its_equation():
    u = rng().uniform(0, 0.5, size=60)
    y = dict.fromkeys(range(-9, 1), 0.0)
    noise = dict(enumerate(u)) | dict.fromkeys(range(-9, 0), 0.0)
    for t in range(60):
        past = sum(y[t - i] for i in range(10))
        y[t + 1] = 0.3 * y[t] + 0.05 * y[t] * past + 1.5 * noise[t - 9] * noise[t] + 0.1
    np.testing.assert_allclose(series.driven(u[:, None])[:, 0], [y[t + 1] for t in range(60)])


@pytest.mark.parametrize("ahead", [1, 6])
def test_a_forecast_of_mackey_glass_is_the_series_some_samples_later(ahead):
    batch = prepared(Forecast, 60, ahead=ahead).validation(rng(), 4)[0]
    ratio = batch.targets[:-ahead] / np.where(batch.inputs == 0, 1, batch.inputs)[ahead:]
    np.testing.assert_allclose(ratio, 1, atol=0.1)  # scaled apart, by almost the same numbers


def test_every_length_has_the_same_trajectories():
    short, long = (prepared(Forecast, length, series="narma10") for length in (30, 900))
    for split in ("training", "validation", "test"):
        np.testing.assert_array_equal(short._splits[split].targets, long._splits[split].targets)


def test_narma_stays_bounded():
    splits = prepared(Forecast, 30, series="narma10")._splits
    assert {name: part.inputs.shape for name, part in splits.items()} == {
        "training": (2000, 64),
        "validation": (2000, 32),
        "test": (2000, 32),
    }
    assert max(np.abs(part.targets).max() for part in splits.values()) < 8
