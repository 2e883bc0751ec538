"""What an earlier study learned of a model's unknowns, as the prior of the next one.

The likelihood of the earlier runs multiplies the prior, raised to a weight (a power prior: Ibrahim and Chen
2000). It is taken to be normal on the scale where an unknown is unbounded: its precision is the earlier
posterior's less that of the earlier prior. What the residual had to add, and the noise, belong to the system
that they were seen on and stay behind.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pymc.distributions.transforms import CircularTransform, Interval, LogExpM1, LogOddsTransform
from pymc.logprob.transforms import LogTransform
from pytensor.graph.traversal import ancestors
from pytensor.tensor.variable import TensorVariable

from boatppl.dag import DAGModel
from boatppl.graph import DAG, Block, Inherited, draw_prior
from boatppl.node import Node
from boatppl.priors import INTERPRETED
from boatppl.propagate import Posterior
from boatppl.words import ModelError, listed

PRIOR_DRAWS = 2000
LEAST = 0.5  # what earlier runs tell of a direction is left alone below this share of what the prior tells
OUTSIDE = 0.05  # share of an earlier posterior that may lie where the new prior ends
#: Each element by itself. What is only free together (a Dirichlet's shares, an ordered vector) stays behind.
ELEMENTWISE = (LogTransform, LogExpM1, LogOddsTransform, Interval, CircularTransform)

Labels = tuple[tuple[str, ...], ...]  # names of an unknown's elements along each of its axes
Key = tuple[str, str]  # a part of the model, and the name that its function gave an unknown


@dataclass(frozen=True, eq=False)
class Learned:
    """An unknown in an earlier study: draws of its prior and posterior ``(draw, *shape)``, the names of its
    elements along each dim, and how many draws the posterior's are worth."""

    prior: np.ndarray
    posterior: np.ndarray
    labels: Labels
    ess: float


def learned(posterior: Posterior, seed: int) -> dict[Key, Learned]:
    """Return what a study's posterior says of the unknowns that the developer named."""
    found = {}
    for block in posterior.blocks:
        model = block.density.block.model
        priors, labels = draw_prior({v.name: v for v in model.free_RVs}, PRIOR_DRAWS, seed), _labels(model)
        for key, name in _unknowns(posterior.model, block.density.block).items():
            ess = min(block.verdict.ess, float(block.draws))
            found[key] = Learned(priors[name], block.variables[name], labels[name], ess)
    return found


def inherit(
    models: Mapping[str, DAGModel], posterior: Posterior, weight: float, seed: int
) -> dict[str, DAGModel]:
    """Return rival models with what an earlier study's posterior says of their unknowns in their priors.

    Raises
    ------
    ModelError
        Where they have no unknown in common, or one was found where its new prior has no mass.
    """
    known = learned(posterior, seed)
    found = {name: informed(model, known, weight) for name, model in models.items()}
    if not any(model.inherited for model in found.values()):
        own = {key for model in models.values() for block in model.blocks for key in _unknowns(model, block)}
        raise ModelError(
            "prior_from=: no unknown of the earlier study is one of this model: the same name in a node or "
            f"shared quantity of the same name. There: {_named(known)}; here: {_named(own)}."
        )
    return found


def _named(keys: Iterable[Key]) -> str:
    return listed(sorted(f"{unknown} of {part}" for part, unknown in keys)) or "none"


def informed(model: DAGModel, known: Mapping[Key, Learned], weight: float) -> DAGModel:
    """Return the model with what is known of its unknowns beside its priors; the same model if none of them
    is known.

    An unknown is known by its name and that of its node or shared quantity; its elements by their names along
    its dims, so that a new machine starts from what the others say of it.

    Raises
    ------
    ModelError
        For an unknown that was found where the new prior has no mass.
    """
    new = DAGModel(model.space, list(model.parts.values()), coords=model.coords, data=model.data)
    names: list[str] = []
    digest = hashlib.sha256()
    for block in new.blocks:
        keys = {key: name for key, name in _unknowns(new, block).items() if key in known}
        labels = _labels(block.model)
        items = [
            item for key, name in keys.items() for item in _same(block.model, name, labels[name], known[key])
        ]
        if not items:
            continue
        rows, targets = _pseudo_measurements(items, weight)
        names += [item.name for item in items]
        digest.update(rows.tobytes() + targets.tobytes())
        with block.model:
            unbounded = pt.concatenate([item.symbolic for item in items])
            pm.Potential("earlier_study", -0.5 * pt.sqr(targets - rows @ unbounded).sum())
    if not names:
        return model
    new.inherited = Inherited(tuple(names), weight, digest.hexdigest()[:16])
    return new


def _unknowns(model: DAG, block: Block) -> dict[Key, str]:
    """Return the developer's unknowns in a block's PyMC model, key -> name there. A generic node's level is
    nobody's knowledge."""
    there = {variable.name for variable in block.model.free_RVs}
    return {
        (name, unknown.rpartition("::")[2]): unknown
        for name, part in model.parts.items()
        if not (isinstance(part, Node) and part.standardised)
        for unknown in model.unknowns[name]
        if unknown in there
    }


def _labels(model: pm.Model) -> dict[str, Labels]:
    """Return the names of every unknown's elements along each of its axes; numbers where it has no dims."""
    point, found = model.initial_point(random_seed=0), {}
    for variable in model.free_RVs:
        shape = point[model.rvs_to_values[variable].name].shape
        dims = model.named_vars_to_dims.get(variable.name) or (None,) * len(shape)
        named = (model.coords.get(dim) or range(size) for dim, size in zip(dims, shape, strict=True))
        found[variable.name] = tuple(tuple(map(str, names)) for names in named)
    return found


@dataclass(frozen=True, eq=False)
class _Item:
    """The elements of an unknown that both studies have, on the unbounded scale of the new model: symbolic
    ``(element,)`` and as draws of the earlier study ``(draw, element)``."""

    name: str
    symbolic: TensorVariable
    prior: np.ndarray
    posterior: np.ndarray
    ess: float


def _same(model: pm.Model, name: str, labels: Labels, known: Learned) -> list[_Item]:
    """Return what both studies have of an unknown whose elements here are ``labels``: one item, or none."""
    variable = model[name]
    transform = model.rvs_to_transforms[variable]
    if not (transform is None or isinstance(transform, ELEMENTWISE)) or len(labels) != len(known.labels):
        return []
    both = [sorted({*new} & {*old}, key=new.index) for new, old in zip(labels, known.labels, strict=True)]
    if not all(both):
        return []
    here = np.ix_(*([new.index(n) for n in common] for new, common in zip(labels, both, strict=True)))
    there = np.ix_(*([old.index(n) for n in common] for old, common in zip(known.labels, both, strict=True)))

    def unbounded(value: TensorVariable) -> TensorVariable:
        return value if transform is None else transform.forward(value, *variable.owner.inputs)

    def of(draws: np.ndarray) -> np.ndarray:
        given = pt.as_tensor(draws)
        with np.errstate(all="ignore"):  # an earlier draw may lie outside of the new prior
            [values] = pytensor.function([], [unbounded(given)], mode=INTERPRETED)()
        return np.stack([value[there].ravel() for value in values])

    if transform is not None and {*ancestors([unbounded(pt.zeros(()))])} & {*model.free_RVs}:
        return []  # where it ends is itself unknown
    symbolic = unbounded(variable)[here].ravel() if labels else unbounded(variable).reshape((1,))
    item = _Item(name, symbolic, of(known.prior), of(known.posterior), known.ess)
    outside = ~np.isfinite(item.posterior).all(axis=1)
    if outside.mean() > OUTSIDE:
        low, high = np.quantile(known.posterior, [0.05, 0.95])
        raise ModelError(
            f"prior_from=: the earlier study found {name!r} at {low:.3g} to {high:.3g}, and "
            f"{outside.mean():.0%} of that lies where its prior in this model has no mass. Widen the prior; "
            "if it is another quantity, give it another name."
        )
    return [item]


def _pseudo_measurements(items: list[_Item], weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what earlier runs say of the unbounded elements u as ``rows (k, element)`` and ``targets (k,)``:
    that ``rows @ u`` was measured at the targets, with normal noise of deviation 1.

    In coordinates where the earlier prior is standard normal, the precision that the runs brought is the
    posterior's less 1 in every direction; its eigenvectors are what they told of.
    """
    prior, posterior = (
        draws[np.isfinite(draws).all(axis=1)]
        for draws in (np.hstack([i.prior for i in items]), np.hstack([i.posterior for i in items]))
    )
    n, size = min(item.ess for item in items), prior.shape[1]
    covariances = [np.atleast_2d(np.cov(draws, rowvar=False)) for draws in (prior, posterior)]
    known = 1.0
    if size > 0.25 * n:  # too few draws for correlations
        covariances = [np.diag(np.diag(covariance)) for covariance in covariances]
    else:
        known = (n - size - 2.0) / (n - 1.0)  # an inverse of few draws is too large: Hartlap et al. 2007
    whiten = np.linalg.inv(np.linalg.cholesky(covariances[0]))
    precision = known * np.linalg.inv(whiten @ covariances[1] @ whiten.T)
    told, directions = np.linalg.eigh(precision - np.eye(size))
    clear = told > max(LEAST, 4.0 * np.sqrt(size / n))
    told, directions = told[clear], directions[:, clear]
    middle = prior.mean(axis=0)
    found = directions.T @ precision @ whiten @ (posterior.mean(axis=0) - middle) / told
    strength = np.sqrt(weight * told)
    rows = strength[:, None] * (directions.T @ whiten)
    return rows, strength * found + rows @ middle
