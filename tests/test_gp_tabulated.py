"""A residual read from a table is the exact one, to a thousandth of what it may be."""

import numpy as np
import pytest

from boatppl.gp.conditional import Conditional
from boatppl.gp.kernel import KINDS
from boatppl.gp.tabulated import HIGH, LOW, Tabulated

DRAWS, AMPLITUDE = 4, 0.3


def exact(kind: str, lengthscale: float) -> Conditional:
    """Sixty noisy rows and twenty sampled ones, so that the mean has corners and the variance zeros."""
    rng = np.random.default_rng(5)
    conditional = Conditional.from_data(
        KINDS[kind],
        rng.uniform(-0.2, 1.3, (60, 1)),
        np.zeros(1, np.int64),
        np.full(DRAWS, AMPLITUDE),
        lengthscale * rng.uniform(1, 2, (DRAWS, 1)),
        np.full((DRAWS, 60), 0.05**2),
        0.2 * rng.normal(size=(DRAWS, 60)),
    )
    return conditional.extend(rng.uniform(0, 1, (20, 1)), rng.normal(size=(DRAWS, 20)))[1]


@pytest.mark.parametrize(("kind", "tolerance"), [("matern52", 1e-3), ("expquad", 1e-5), ("matern32", 1e-2)])
@pytest.mark.parametrize("lengthscale", [0.05, 0.3, 2.0])
def test_mean_and_variance_are_the_exact_ones(kind, tolerance, lengthscale):
    conditional = exact(kind, lengthscale)
    points = np.linspace(LOW - 1, HIGH + 1, 801)[:, None]
    mean, variance = conditional.predict(points)
    read_mean, read_variance = Tabulated.of(conditional).predict(points)
    assert np.abs(read_mean - mean).max() < tolerance * AMPLITUDE
    assert np.abs(read_variance - variance).max() < tolerance * AMPLITUDE**2
    outside = (points[:, 0] < LOW) | (points[:, 0] > HIGH)
    assert np.allclose(read_mean[:, outside], mean[:, outside], rtol=0, atol=1e-12)


def test_points_of_every_draw_are_read_from_its_own_row():
    conditional = exact("matern52", 0.3)
    points = np.random.default_rng(1).uniform(LOW - 0.5, HIGH + 0.5, (DRAWS, 50, 1))
    for ours, theirs in zip(Tabulated.of(conditional).predict(points), conditional.predict(points)):
        assert np.abs(ours - theirs).max() < 1e-3 * AMPLITUDE
    table, some = Tabulated.of(conditional), np.array([2, 0])
    for ours, whole in zip(table.take(some).predict(points[some]), table.predict(points)):
        assert np.abs(ours - whole[some]).max() < 1e-3 * AMPLITUDE


def test_the_pullback_is_the_slope_of_what_is_read():
    table = Tabulated.of(exact("matern52", 0.3))
    rng = np.random.default_rng(2)
    points = rng.uniform(LOW - 0.5, HIGH + 0.5, (40, 1))
    d_mean, d_variance = rng.normal(size=(2, DRAWS, 40))

    def value(points):
        mean, variance = table.predict(points)
        return d_mean * mean + d_variance * variance

    step = 1e-6
    slope = (value(points + step) - value(points - step)) / (2 * step)
    assert np.allclose(table.pullback(points, d_mean, d_variance)[..., 0], slope, rtol=1e-4, atol=1e-5)
