"""The Gaussian-process marginal likelihood as one PyTensor operation with an analytic gradient."""

from typing import Any

import numba
import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_and_cache_key

from boatppl.gp.kernel import KINDS
from boatppl.gp.marginal import log_marginal, log_normal


class GPMarginal(Op):
    """log N(residual | 0, amplitude^2 (k + jitter) + diag(noise_variance)) and its gradient.

    Inputs: residual ``(row,)``, Z ``(row, column)``, groups ``(column,)``, amplitude ``()``, lengthscale ``(input,)``,
    noise_variance ``(row,)``. Outputs: the log density ``()`` and its derivative with respect to the residual, amplitude,
    lengthscale and noise variance; only the first output is differentiable, by means of the others.
    """

    __props__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def make_node(self, *inputs: Any) -> Apply:
        tensors = [pt.as_tensor_variable(value) for value in inputs]
        residual, _, _, amplitude, lengthscale, noise_variance = tensors
        outputs = [pt.dscalar(), *(x.type() for x in (residual, amplitude, lengthscale, noise_variance))]
        return Apply(self, tensors, outputs)

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[Any]) -> None:
        residual, Z, groups, amplitude, lengthscale, noise_variance = inputs
        results = log_marginal(
            KINDS[self.kind], residual, np.ascontiguousarray(Z), groups, float(amplitude), lengthscale, noise_variance
        )
        for storage, result in zip(output_storage, results, strict=True):
            storage[0] = np.asarray(result, float)

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        _, d_residual, d_amplitude, d_lengthscale, d_noise = outputs
        weight = cotangents[0]
        unused = DisconnectedType()
        return [
            weight * d_residual, unused(), unused(), weight * d_amplitude, weight * d_lengthscale, weight * d_noise
        ]

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True] * 5 if i not in (1, 2) else [False] * 5 for i in range(6)]


@register_funcify_and_cache_key(GPMarginal)
def _numba_marginal(op: GPMarginal, node: Any = None, **kwargs: Any) -> tuple[Any, str]:
    kind = KINDS[op.kind]

    @numba.njit
    def gp_marginal(residual, Z, groups, amplitude, lengthscale, noise_variance):  # type: ignore[no-untyped-def]
        value, d_residual, d_amplitude, d_lengthscale, d_noise = log_marginal(
            kind,
            np.ascontiguousarray(residual),
            np.ascontiguousarray(Z),
            np.ascontiguousarray(groups),
            amplitude.item(),
            np.ascontiguousarray(lengthscale),
            np.ascontiguousarray(noise_variance),
        )
        return np.asarray(value), d_residual, np.asarray(d_amplitude), d_lengthscale, d_noise

    return gp_marginal, f"boatppl-gp-marginal-{op.kind}-1"


class NormalMarginal(Op):
    """The log density of independent normals, for a node without a residual; outputs as :class:`GPMarginal`'s."""

    __props__ = ()

    def make_node(self, residual: Any, noise_variance: Any) -> Apply:
        tensors = [pt.as_tensor_variable(residual), pt.as_tensor_variable(noise_variance)]
        return Apply(self, tensors, [pt.dscalar(), *(x.type() for x in tensors)])

    def perform(self, node: Apply, inputs: list[Any], output_storage: list[Any]) -> None:
        for storage, result in zip(output_storage, log_normal(*inputs), strict=True):
            storage[0] = np.asarray(result, float)

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list[Any]:
        return [cotangents[0] * outputs[1], cotangents[0] * outputs[2]]


@register_funcify_and_cache_key(NormalMarginal)
def _numba_normal(op: NormalMarginal, node: Any = None, **kwargs: Any) -> tuple[Any, str]:
    @numba.njit
    def normal_marginal(residual, noise_variance):  # type: ignore[no-untyped-def]
        value, d_residual, d_noise = log_normal(np.ascontiguousarray(residual), np.ascontiguousarray(noise_variance))
        return np.asarray(value), d_residual, d_noise

    return normal_marginal, "boatppl-normal-marginal-1"
