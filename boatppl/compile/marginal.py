"""The marginal likelihood of a node's residual as one PyTensor operation with an analytic gradient."""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_and_cache_key

from boatppl.gp.entry import call_bound, call_exact
from boatppl.gp.inducing import log_marginal_inducing
from boatppl.gp.kernel import KINDS
from boatppl.gp.marginal import log_marginal, log_normal

CONSTANT_INPUTS = (1, 2, 6, 7)  # of GPMarginal: the gradient does not follow Z, groups, inducing and address


class GPMarginal(Op):
    """log N(residual | 0, amplitude^2 (k + jitter) + diag(noise_variance)) and its gradient.

    Inputs: residual ``(row,)``, Z ``(row, column)``, groups ``(column,)``, amplitude ``()``, lengthscale
    ``(input,)``, noise_variance ``(row,)``, inducing ``(point, column)``, address ``()`` int64. With no
    inducing point the density is exact (Rasmussen & Williams 2006, eq. 5.8), otherwise it is the variational
    bound (Titsias 2009, eq. 9): chosen at run time, so a growing table never recompiles. ``address`` is where
    that density is: :func:`~boatppl.gp.entry.likelihood_address` of the number of inducing points.

    Outputs: the log density ``()`` and its derivatives with respect to the residual, amplitude, lengthscale
    and noise variance; only the first output is differentiable, by means of the others.
    """

    __props__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def make_node(self, *inputs: Any) -> Apply:
        """Apply to symbolic inputs."""
        tensors = [pt.as_tensor_variable(value) for value in inputs]
        residual, _, _, amplitude, lengthscale, noise_variance, _, _ = tensors
        outputs = [pt.dscalar(), *(x.type() for x in (residual, amplitude, lengthscale, noise_variance))]
        return Apply(self, tensors, outputs)

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[Any]) -> None:
        """Compute without compilation (PyTensor's ``FAST_COMPILE`` mode)."""
        residual, Z, groups, amplitude, lengthscale, noise_variance, inducing, _ = map(
            np.ascontiguousarray, inputs
        )
        data = KINDS[self.kind], residual, Z, groups, float(amplitude.item()), lengthscale, noise_variance
        results = log_marginal_inducing(*data, inducing) if len(inducing) else log_marginal(*data)
        for storage, result in zip(output_storage, results, strict=True):
            storage[0] = np.asarray(result, float)

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """Weigh the derivatives that came with the density."""
        _, d_residual, d_amplitude, d_lengthscale, d_noise = (cotangents[0] * output for output in outputs)
        unused = DisconnectedType()
        return [d_residual, unused(), unused(), d_amplitude, d_lengthscale, d_noise, unused(), unused()]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Say which inputs have a gradient."""
        return [[i not in CONSTANT_INPUTS] * 5 for i in range(8)]


@register_funcify_and_cache_key(GPMarginal)
def _numba_marginal(op: GPMarginal, node: Any = None, **kwargs: Any) -> tuple[Callable[..., Any], str]:
    kind = KINDS[op.kind]

    @numba.njit
    def gp_marginal(residual, Z, groups, amplitude, lengthscale, noise_variance, inducing, address):  # type: ignore[no-untyped-def]
        data = np.ascontiguousarray(residual), np.ascontiguousarray(Z), np.ascontiguousarray(groups)
        priors = amplitude.item(), np.ascontiguousarray(lengthscale), np.ascontiguousarray(noise_variance)
        at = address.item()
        if inducing.shape[0] == 0:
            found = call_exact(at, kind, *data, *priors)
        else:
            found = call_bound(at, kind, *data, *priors, np.ascontiguousarray(inducing))
        return np.asarray(found[0]), found[1], np.asarray(found[2]), found[3], found[4]

    return gp_marginal, f"boatppl-gp-marginal-{op.kind}-3"


class NormalMarginal(Op):
    """The log density of independent normals, for a node without a residual; outputs as
    :class:`GPMarginal`'s."""

    __props__ = ()

    def make_node(self, residual: Any, noise_variance: Any) -> Apply:
        """Apply to symbolic inputs."""
        tensors = [pt.as_tensor_variable(residual), pt.as_tensor_variable(noise_variance)]
        return Apply(self, tensors, [pt.dscalar(), *(x.type() for x in tensors)])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[Any]) -> None:
        """Compute without compilation (PyTensor's ``FAST_COMPILE`` mode)."""
        for storage, result in zip(output_storage, log_normal(*inputs), strict=True):
            storage[0] = np.asarray(result, float)

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        """Weigh the derivatives that came with the density."""
        return [cotangents[0] * outputs[1], cotangents[0] * outputs[2]]


@register_funcify_and_cache_key(NormalMarginal)
def _numba_normal(op: NormalMarginal, node: Any = None, **kwargs: Any) -> tuple[Callable[..., Any], str]:
    @numba.njit
    def normal_marginal(residual, noise_variance):  # type: ignore[no-untyped-def]
        value, d_residual, d_noise = log_normal(
            np.ascontiguousarray(residual), np.ascontiguousarray(noise_variance)
        )
        return np.asarray(value), d_residual, d_noise

    return normal_marginal, "boatppl-normal-marginal-1"
