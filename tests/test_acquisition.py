"""Acquisition functions: closed forms against integrals, slopes against differences, stable far out."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, stats

from boatppl.acquisition import (
    IMPOSSIBLE,
    average,
    log_expected_improvement,
    log_expected_improvement_slopes,
    log_improvement,
    log_probability_within,
    log_probability_within_slopes,
    posterior_mean,
    probability_of_improvement,
    shares,
    smoothing,
)


def exact_log_improvement(z):
    """log E max(z + X, 0) with X standard normal: phi(z) times the integral of s exp(s z - s^2/2)."""
    reach = max(z, 0.0) + 40.0 / max(1.0, -z)
    parts = np.linspace(0.0, reach, 41)
    total = sum(
        integrate.quad(lambda s: s * np.exp(s * z - s**2 / 2), a, b, epsabs=0, epsrel=1e-13)[0]
        for a, b in pairwise(parts)
    )
    return stats.norm.logpdf(z) + np.log(total)


@pytest.mark.parametrize("z", [-40.0, -30.0, -10.0, -5.0, -1.0001, -1.0, -0.5, 0.0, 0.3, 1.0, 5.0, 20.0])
def test_log_improvement_is_exact(z):
    assert log_improvement(np.array(z)) == pytest.approx(exact_log_improvement(z), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("z", [-1e2, -1e3, -9e4, -2e5, -1e6])
def test_log_improvement_far_out(z):
    """phi(z) / z^2 (1 - 3 / z^2 + ...): Ament et al. 2023, sec. 4.1."""
    expected = -0.5 * z**2 - 0.5 * np.log(2 * np.pi) - 2 * np.log(-z) + np.log1p(-3 / z**2 + 15 / z**4)
    assert log_improvement(np.array(z)) == pytest.approx(expected, rel=1e-13)


def test_log_improvement_rises_everywhere():
    z = np.concatenate([-np.geomspace(1e6, 1e-6, 3001), np.geomspace(1e-6, 1e6, 3001)])
    assert (np.diff(log_improvement(z)) > 0).all()


def test_expected_improvement_equals_the_integral():
    for mean, variance, best in [(1.0, 0.04, 1.1), (0.0, 4.0, -3.0), (5.0, 1.0, 3.0)]:
        density = stats.norm(mean, np.sqrt(variance)).pdf
        expected, _ = integrate.quad(
            lambda y, density=density, best=best: (best - y) * density(y), mean - 12 * np.sqrt(variance), best
        )
        found = log_expected_improvement(np.array([[mean]]), np.array([[variance]]), np.array([best]))
        assert np.exp(found) == pytest.approx(expected, rel=1e-7)


def test_without_variance_it_is_the_plain_improvement():
    mean = np.array([[1.0, 2.0, 3.0]])
    found = log_expected_improvement(mean, np.zeros_like(mean), np.array([2.5]))
    np.testing.assert_allclose(found, [[np.log(1.5), np.log(0.5), -np.inf]])
    tiny = log_expected_improvement(mean, np.full_like(mean, 1e-16), np.array([2.5]))
    np.testing.assert_allclose(tiny[:, :2], found[:, :2])


def test_units_only_shift_it():
    rng = np.random.default_rng(0)
    mean, variance, best = rng.normal(size=(5, 7)), rng.exponential(size=(5, 7)), rng.normal(size=5)
    moved = log_expected_improvement(100 * mean + 3, 1e4 * variance, 100 * best + 3)
    np.testing.assert_allclose(moved, log_expected_improvement(mean, variance, best) + np.log(100))


def test_slopes_equal_differences():
    rng = np.random.default_rng(1)
    mean, variance, best = rng.normal(0, 3, size=(6, 9)), rng.exponential(size=(6, 9)), rng.normal(size=6)
    d_mean, d_variance = log_expected_improvement_slopes(mean, variance, best)
    step = 1e-6
    up, down = (log_expected_improvement(mean + s, variance, best) for s in (step, -step))
    np.testing.assert_allclose(d_mean, (up - down) / (2 * step), rtol=1e-6, atol=1e-6)
    up, down = (log_expected_improvement(mean, variance * (1 + s), best) for s in (step, -step))
    np.testing.assert_allclose(d_variance, (up - down) / (2 * step * variance), rtol=1e-6, atol=1e-6)


def test_without_variance_slopes_are_those_of_the_plain_improvement():
    rng = np.random.default_rng(3)
    mean, variance = rng.normal(0, 3, size=(6, 9)), np.zeros((6, 9))
    best = np.full(6, 2.0)
    d_mean, d_variance = log_expected_improvement_slopes(mean, variance, best)
    better = mean < 2.0 - 1e-3
    assert better.any()
    assert not better.all()
    up, down = (log_expected_improvement(mean + s, variance, best)[better] for s in (1e-6, -1e-6))
    np.testing.assert_allclose(d_mean[better], (up - down) / 2e-6, rtol=1e-5)
    assert (d_mean[mean > 2.0] == 0.0).all()
    assert (d_variance == 0.0).all()


def test_slopes_are_finite_far_out_and_zero_where_nothing_is_to_be_gained():
    mean, best = np.array([[0.0, 1e3, 1e6, 1.0]]), np.array([0.0])
    variance = np.array([[1.0, 1.0, 1.0, 0.0]])
    d_mean, d_variance = log_expected_improvement_slopes(mean, variance, best)
    assert np.isfinite(d_mean).all()
    assert np.isfinite(d_variance).all()
    assert d_mean[0, 3] == d_variance[0, 3] == 0.0
    np.testing.assert_allclose(d_mean[0, 1:3], [-1e3, -1e6], rtol=1e-3)  # d log phi(z) / d mean = z


BOUNDS = [(-np.inf, 0.3), (-0.7, np.inf), (-0.7, 0.3)]


@pytest.mark.parametrize(("lower", "upper"), BOUNDS)
def test_the_probability_within_bounds_is_that_of_a_normal(lower, upper):
    rng = np.random.default_rng(4)
    mean, variance = rng.normal(0, 2, size=(6, 9)), rng.exponential(size=(6, 9))
    each = stats.norm(mean, np.sqrt(variance))
    found = np.exp(log_probability_within(mean, variance, lower, upper))
    np.testing.assert_allclose(found, each.cdf(upper) - each.cdf(lower), atol=1e-12)


@pytest.mark.parametrize(("lower", "upper"), BOUNDS)
def test_slopes_of_the_probability_equal_differences(lower, upper):
    rng = np.random.default_rng(5)
    mean, variance = rng.normal(0, 2, size=(6, 9)), rng.exponential(size=(6, 9)) + 0.1
    d_mean, d_variance = log_probability_within_slopes(mean, variance, lower, upper)
    assert np.abs(d_mean).max() > 1.0
    step = 1e-6
    up, down = (log_probability_within(mean + s, variance, lower, upper) for s in (step, -step))
    np.testing.assert_allclose(d_mean, (up - down) / (2 * step), rtol=1e-5, atol=1e-6)
    up, down = (log_probability_within(mean, variance + s, lower, upper) for s in (step, -step))
    np.testing.assert_allclose(d_variance, (up - down) / (2 * step), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_within_bounds_still_adds_and_compares():
    mean = np.array([[0.0, np.nan, 1e9, -1e9, 1e9]])
    found = log_probability_within(mean, np.ones_like(mean), -1.0, np.inf)
    assert found[0, 1] == IMPOSSIBLE < found[0, 3] < -1e17  # the farther, the less probable
    assert found[0, 0] < found[0, 2] == found[0, 4] == 0.0
    for slope in log_probability_within_slopes(mean, np.ones_like(mean), -1.0, np.inf):
        assert np.isfinite(slope).all()
    never = log_probability_within(mean, np.ones_like(mean), -np.inf, -np.inf)  # outside all values there are
    assert (never == IMPOSSIBLE).all()


def test_average_is_the_log_of_the_mean_and_shares_are_its_gradient():
    rng = np.random.default_rng(2)
    values = rng.normal(0, 30, size=(8, 5))
    values[3, 1] = -np.inf
    with np.errstate(divide="ignore"):
        expected = np.log(np.exp(values.astype(np.longdouble)).mean(axis=0))
    np.testing.assert_allclose(average(values), expected.astype(float))
    np.testing.assert_allclose(shares(values).sum(axis=0), 1.0)
    for draw in (0, 3, 7):
        up, down = values.copy(), values.copy()
        up[draw] += 1e-6
        down[draw] -= 1e-6
        np.testing.assert_allclose(shares(values)[draw], (average(up) - average(down)) / 2e-6, atol=1e-8)


def test_a_draw_without_a_value_promises_nothing():
    values = np.array([[0.0, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(average(values), [-np.log(2), -np.inf])
    np.testing.assert_array_equal(shares(values), [[1.0, 0.0], [0.0, 0.0]])


def test_smoothing_is_small_and_never_zero():
    values = np.array([[0.0, 10.0, 20.0], [3.0, 3.0, 3.0], [0.0, np.nan, 1.0]])
    found = smoothing(values)
    assert found.shape == (3, 1)
    assert (found > 0).all()
    np.testing.assert_allclose(np.sqrt(found[0]), 0.01 * values[0].std())


def test_probability_and_mean():
    mean, variance, best = np.array([[0.0, 1.0], [2.0, 1.0]]), np.ones((2, 2)), np.array([1.0, 1.0])
    np.testing.assert_allclose(
        probability_of_improvement(mean, variance, best),
        [(stats.norm.cdf(1) + stats.norm.cdf(-1)) / 2, 0.5],
    )
    np.testing.assert_array_equal(posterior_mean(mean), [-1.0, -1.0])
