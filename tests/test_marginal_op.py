"""The marginal likelihood as a PyTensor operation: gradients, both ways of running it, exact or bound."""

from functools import cache

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from scipy import stats

from boatppl.compile.marginal import GPMarginal, NormalMarginal
from boatppl.gp.entry import likelihood_address
from boatppl.gp.inducing import log_marginal_inducing
from boatppl.gp.kernel import KINDS
from boatppl.gp.marginal import log_marginal

RNG = np.random.default_rng(0)
Z = RNG.uniform(size=(12, 3))
GROUPS = np.array([0, 1, 1])
VALUES = {
    "residual": RNG.normal(size=12),
    "Z": Z,
    "groups": GROUPS,
    "amplitude": np.array(0.7),
    "lengthscale": np.array([0.4, 0.9]),
    "noise_variance": RNG.uniform(0.05, 0.2, size=12),
}
NONE = np.zeros((0, 3)), np.asarray(likelihood_address(0))
SOME = Z[:5] + 0.01, np.asarray(likelihood_address(5))


def symbols():
    """Inputs of any size: residual, Z, groups, amplitude, lengthscale, noise variance, inducing points,
    address."""
    rows, unknowns = [pt.dvector(), pt.dmatrix(), pt.lvector()], [pt.dscalar(), pt.dvector(), pt.dvector()]
    return [*rows, *unknowns, pt.dmatrix(), pt.lscalar()]


@cache
def compiled(kind, mode):
    """log density and gradients with respect to the differentiable inputs, times 3."""
    inputs = symbols()
    density = 3.0 * GPMarginal(kind)(*inputs)[0]
    wrt = [inputs[0], *inputs[3:6]]
    return pytensor.function(inputs, [density, *pytensor.grad(density, wrt)], mode=mode)


@pytest.mark.parametrize("kind", ["matern52", "matern32", "expquad"])
@pytest.mark.parametrize("inducing", [NONE, SOME], ids=["exact", "bound"])
def test_values_and_gradients_with_and_without_compilation(kind, inducing):
    arguments = (*VALUES.values(), *inducing)
    if len(inducing[0]):
        expected = log_marginal_inducing(KINDS[kind], *_plain(), inducing[0])
    else:
        expected = log_marginal(KINDS[kind], *_plain())
    for mode in ("NUMBA", "FAST_COMPILE"):
        for found, value in zip(compiled(kind, mode)(*arguments), expected, strict=True):
            np.testing.assert_allclose(found, 3.0 * np.asarray(value), rtol=1e-12)


def _plain():
    values = dict(VALUES)
    values["amplitude"] = float(values["amplitude"])
    return tuple(values.values())


def test_one_compiled_function_serves_any_size_and_both_densities():
    function = compiled("matern52", "NUMBA")
    for rows in (0, 1, 7, 12):
        cut = {
            name: v[:rows] if name in ("residual", "Z", "noise_variance") else v for name, v in VALUES.items()
        }
        value, d_residual, *_ = function(*cut.values(), *NONE)
        assert d_residual.shape == (rows,)
        bound = function(*cut.values(), *SOME)[0] if rows else value
        assert bound <= value + 1e-9
    assert value != bound


def test_arrays_that_are_not_contiguous():
    function = compiled("matern52", "NUMBA")
    strided = dict(VALUES) | {"Z": np.asfortranarray(Z), "residual": np.repeat(VALUES["residual"], 2)[::2]}
    expected = function(*VALUES.values(), *NONE)[0]
    np.testing.assert_allclose(function(*strided.values(), *NONE)[0], expected)


def test_second_derivatives_are_refused_rather_than_wrong():
    """Only the density is differentiable; its gradients are outputs, not expressions."""
    inputs = symbols()
    gradient = pytensor.grad(GPMarginal("matern52")(*inputs)[0], inputs[3])
    with pytest.raises((NotImplementedError, pytensor.gradient.NullTypeGradError, ValueError, TypeError)):
        pytensor.grad(gradient, inputs[3])


@pytest.mark.parametrize("mode", ["NUMBA", "FAST_COMPILE"])
def test_independent_normals(mode):
    residual, variance = pt.dvector("residual"), pt.dvector("variance")
    density = 2.0 * NormalMarginal()(residual, variance)[0]
    function = pytensor.function(
        [residual, variance], [density, *pytensor.grad(density, [residual, variance])], mode=mode
    )
    x, v = VALUES["residual"], VALUES["noise_variance"]
    value, d_residual, d_variance = function(x, v)
    np.testing.assert_allclose(value, 2 * stats.norm.logpdf(x, 0, np.sqrt(v)).sum())
    np.testing.assert_allclose(d_residual, -2 * x / v)
    np.testing.assert_allclose(d_variance, x**2 / v**2 - 1 / v)
