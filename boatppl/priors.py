"""The default priors of a node's residual and noise, in units of the node's own prior scale.

The scale is the spread of ``T(f)`` over prior draws and a design of configurations, frozen when the model is
built (scales that follow the data would move the priors and break calibration).
"""

from collections.abc import Mapping

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pymc.distributions.shape_utils import change_dist_size
from pytensor.compile.mode import Mode
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.type import RandomGeneratorType
from pytensor.tensor.variable import TensorVariable

from boatppl.node import Node
from boatppl.words import ModelError

DRAWS, CONFIGURATIONS, SEED = 64, 32, 20170403  # of the prior predictive that freezes the scales
# The least noise in units of the node's scale, by whether it is standardised: no measurement is finer.
RESOLUTION = {False: 1e-3, True: 1e-4}
# for graphs that are evaluated once: nothing is rewritten or compiled
INTERPRETED = Mode("py", optimizer=None)


def prior_scale(transformed: np.ndarray) -> float:
    """Return the scale of a node from prior draws of T(f) ``(draw, row)``: how far configurations move it.

    The typical spread over rows within a draw; where that is small against the prior's own spread (a
    constant), a quarter of the latter.
    """
    low, high = np.quantile(transformed, [0.16, 0.84])
    return max(float(np.median(transformed.std(axis=1))), 0.25 * float(high - low) / 2.0) or 1.0


def draw_prior(variables: Mapping[str, TensorVariable], draws: int, seed: int) -> dict[str, np.ndarray]:
    """Return prior draws name -> ``(draw, *shape)``."""
    if not variables:
        return {}
    try:
        arrays = pm.draw(list(variables.values()), draws=draws, mode=INTERPRETED, random_seed=seed)
    except NotImplementedError as error:  # PyMC's flat distributions
        raise ModelError(
            f"the prior of {' or '.join(map(repr, variables))} cannot be drawn from ({error}); scales come "
            "from prior draws: use a proper prior, such as pm.Normal."
        ) from error
    return {name: np.asarray(array, float) for name, array in zip(variables, arrays, strict=True)}


def residual_priors(node: Node, scale: float, n_inputs: int) -> tuple[TensorVariable, TensorVariable]:
    """Register the amplitude and the lengthscales ``(input,)`` of a node's residual in the current model.

    The amplitude's half-Student-t prior has its mode at 0, so the parametric part explains what it can, and
    a tail for models that are wrong. The lengthscale's log-normal prior grows with the square root of the
    dimension, as Hvarfner et al. 2024 (eq. 8) derive; theirs is made for point estimates (its mode is 0.3
    in 4 dimensions, its median 8), and under full Bayes most of its mass says "a plane plus noise": on
    Hartmann-6 it had found nothing after 40 trials where this one is within 0.1 of the minimum after 30.
    """
    gp, dims = node.residual, (f"{node.name}_input",)
    if gp is None:
        raise ModelError(f"{node!r} has no residual, so it has no amplitude and lengthscale.")
    if gp.amplitude is not None:
        amplitude = _register(node, gp.amplitude, "amplitude")
    elif node.standardised:
        amplitude = pm.LogNormal("amplitude", 0.0, 0.7)
    else:
        amplitude = pm.HalfStudentT("amplitude", nu=4, sigma=0.1 * scale)
    if gp.lengthscale is not None:
        return amplitude, _register(node, gp.lengthscale, "lengthscale", dims, n_inputs)
    median = 0.3 * np.sqrt(n_inputs)
    return amplitude, pm.LogNormal("lengthscale", np.log(median), 0.8, dims=dims)


def noise_prior(node: Node, scale: float) -> TensorVariable:
    """Register the standard deviation of run-to-run variation (transformed scale) in the current model; of a
    deterministic node it is 0, and nothing is registered."""
    if node.deterministic:
        return pt.constant(0.0)
    if node.noise is not None:
        return _register(node, node.noise, "noise")
    if node.standardised:
        return pm.HalfStudentT("noise", nu=4, sigma=0.1)
    return pm.HalfNormal("noise", 0.1 * scale)


def at_least_resolution(node: Node, noise: TensorVariable, scale: float) -> TensorVariable:
    """Return ``sqrt(noise^2 + resolution^2)``: the noise's standard deviation that the likelihood uses.

    Where the parametric part fits measurements exactly (a deterministic simulator), the density would grow
    without bound as noise and amplitude go to 0, and there would be no posterior.
    """
    return pt.sqrt(pt.square(noise) + resolution(node, scale) ** 2)


def resolution(node: Node, scale: float) -> float:
    """Return the least standard deviation of the noise (transformed scale): no error below it is one."""
    return RESOLUTION[node.standardised] * scale


def _register(
    node: Node, prior: TensorVariable, name: str, dims: tuple[str, ...] | None = None, length: int = 0
) -> TensorVariable:
    """Register a copy of a developer's ``.dist(...)``, resized to ``(length,)`` where dims are given.

    The copy has a random generator of its own: one specification may serve several priors and models.
    """
    generators = {
        variable: pytensor.shared(np.random.default_rng(), name="rng")
        for variable in ancestors([prior])
        if variable.owner is None and isinstance(variable.type, RandomGeneratorType)
    }
    [copy] = clone_replace([prior], generators)
    if dims is not None and copy.ndim == 0:
        copy = change_dist_size(copy, (length,))
    expected = () if dims is None else (length,)
    if copy.type.shape != expected:
        raise ModelError(
            f"{node!r}: the prior of the {name} has shape {copy.type.shape}, expected {expected}."
        )
    variable = pm.modelcontext(None).register_rv(copy, name, dims=dims)
    [draws] = draw_prior({name: variable}, DRAWS, SEED).values()
    if not (draws > 0).all():
        raise ModelError(
            f"{node!r}: the prior of the {name} gives values such as {draws.min():.3g}, expected positive "
            "numbers only: use pm.HalfNormal.dist, pm.LogNormal.dist or pm.Gamma.dist."
        )
    return variable
