"""Transforms: inverses, slopes and Jacobians are each other's laws."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy.stats import norm

from boatppl.transform import KINDS, ZEROS, Transform

INSIDE = {
    None: np.array([-3.0, 0.0, 2.5]),
    "log": np.array([1e-3, 1.0, 40.0]),
    "log1p": np.array([0.0, 0.5, 40.0]),
    "sqrt": np.array([0.0, 0.5, 40.0]),
    "logit": np.array([0.01, 0.5, 0.999]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("location", "spread"), [(0.0, 1.0), (1.5, 0.4)])
def test_forward_and_inverse_cancel(kind, location, spread):
    transform = Transform(kind, location, spread)
    np.testing.assert_allclose(transform.inverse(transform.forward(INSIDE[kind])), INSIDE[kind], atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_slope_is_the_derivative(kind):
    transform, y, step = Transform(kind, 0.7, 1.3), INSIDE[kind][1:], 1e-6
    numeric = (transform.forward(y + step) - transform.forward(y - step)) / (2 * step)
    inside = np.isfinite(numeric)
    np.testing.assert_allclose(transform.slope(y)[inside], numeric[inside], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_symbolic_is_forward_without_standardising(kind):
    symbolic = Transform(kind, 5.0, 2.0).symbolic(np.array(INSIDE[kind][1:]))
    value = symbolic.eval() if hasattr(symbolic, "eval") else symbolic
    np.testing.assert_allclose(value, Transform(kind).forward(INSIDE[kind][1:]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_density_with_its_jacobian_integrates_to_one(kind):
    transform = Transform(kind, 0.4, 0.3)
    lowest = transform.forward(0.0) if kind in ZEROS else -8.0
    y = transform.inverse(np.linspace(lowest, 8.0, 20_001))
    density = np.exp(norm.logpdf(transform.forward(y)) + transform.log_jacobian(y))
    np.testing.assert_allclose(np.trapezoid(density[1:], y[1:]), norm.sf(lowest), atol=1e-3)


def test_zeros_where_they_may_occur():
    zero = np.zeros(1)
    assert not np.isfinite(Transform("log").forward(zero)).any()
    for kind in ("log1p", "sqrt"):
        assert Transform(kind).forward(zero) == 0.0
        assert Transform(kind).inverse(zero) == 0.0
        assert np.isfinite(Transform(kind).log_jacobian(zero)).all()
        assert Transform(kind).inverse(np.array([-2.0])) == 0.0
        assert Transform(kind).slope(zero) > 1e6  # nothing comes back through a value that stops at 0


@pytest.mark.parametrize(("kind", "outside"), [("log", 0.0), ("log1p", -0.1), ("sqrt", -0.1), ("logit", 1.0)])
def test_outside_the_domain_nothing_is_finite(kind, outside):
    transform = Transform(kind)
    assert not np.isfinite(transform.forward(np.array(outside)))
    assert transform.domain != Transform(None).domain


def test_a_formula_that_is_zero_has_a_gradient():
    """Of 0 MB promoted whatever the unknown is, the slope is 0, not infinite times 0."""
    unknown = pt.dscalar()
    moved = Transform("sqrt").symbolic(pt.as_tensor(np.array([0.0, 4.0])) * unknown)
    value, gradient = (pytensor.function([unknown], g) for g in (moved, pt.grad(moved.sum(), unknown)))
    np.testing.assert_allclose(value(2.0), np.sqrt([0.0, 8.0]))
    np.testing.assert_allclose(gradient(2.0), 0.5 * np.sqrt(4.0 / 2.0))
    assert np.isnan(value(-1.0)[1])  # outside the domain it stays undefined
