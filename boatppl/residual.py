"""What the residual of a node is: a specification without numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from boatppl.words import ModelError, expected_one_of

KERNELS = ("matern52", "matern32", "expquad")


@dataclass(frozen=True, eq=False, init=False)
class GP:
    """The Gaussian-process residual of a node: what its parametric part does not know.

    On the node's transformed scale the residual is ``g ~ GP(0, amplitude^2 k(z, z'))`` with one lengthscale
    for each input (automatic relevance determination; Rasmussen & Williams 2006, ch. 5.1). Inputs are
    scaled to the unit cube.

    Parameters
    ----------
    inputs
        Names of parameters, contexts, nodes, derived quantities or data; what is shared is unknown and can
        be none. By default the arguments of the node's function, where a derived quantity stands for what it
        is computed from. Naming one says that the error depends on those only through it, which is fewer
        dimensions to learn.
    kernel
        ``"matern52"``, ``"matern32"`` or ``"expquad"``.
    lengthscale, amplitude
        Priors such as ``pm.HalfNormal.dist(0.2)``; the amplitude is in units of the node's transformed
        scale (0.1 with ``transform="log"`` is about 10 %), lengthscales are in units of the unit cube: one
        prior for all inputs. By default the amplitude is half-Student-t with a tenth of the spread that the
        priors give the formula over the space, and lengthscales are log-normal around a value that grows with
        the square root of the number of inputs.

    Raises
    ------
    ModelError
        For an unknown kernel, inputs that are not names, or a prior that is no distribution.
    """

    inputs: tuple[str, ...] | None
    kernel: str
    lengthscale: Any
    amplitude: Any

    def __init__(
        self,
        inputs: Sequence[str] | None = None,
        kernel: str = "matern52",
        lengthscale: Any = None,
        amplitude: Any = None,
    ) -> None:
        if kernel not in KERNELS:
            raise ModelError(f"the kernel of a GP is {expected_one_of(KERNELS, kernel)}.")
        many = isinstance(inputs, Iterable) and not isinstance(inputs, str)
        names = tuple(inputs or ()) if many else (inputs,)
        if inputs is not None and not (many and all(isinstance(name, str) for name in names)):
            raise ModelError(
                f"the inputs of a GP are a list of names, such as inputs=['young_mb']; got {inputs!r}."
            )
        for option, prior in {"lengthscale": lengthscale, "amplitude": amplitude}.items():
            check_prior(f"{option}= of a GP", prior)
        object.__setattr__(self, "inputs", None if inputs is None else tuple(dict.fromkeys(names)))
        object.__setattr__(self, "kernel", kernel)
        object.__setattr__(self, "lengthscale", lengthscale)
        object.__setattr__(self, "amplitude", amplitude)

    @property
    def is_described(self) -> bool:
        """Whether anything was said of it: ``GP()`` says nothing and is every node's default."""
        return not (
            self.inputs is None
            and self.kernel == KERNELS[0]
            and self.lengthscale is None
            and self.amplitude is None
        )


def check_prior(option: str, prior: Any) -> None:
    """Raise a ModelError unless ``prior`` is None or an unregistered, continuous PyMC distribution."""
    if prior is None:
        return
    operation = getattr(getattr(prior, "owner", None), "op", None)
    if operation is None or not hasattr(operation, "dist_params"):
        raise ModelError(
            f"{option} expects a prior written as pm.HalfNormal.dist(0.2); got {prior!r}. "
            f"Write the distribution with .dist(...), without a name."
        )
    if not prior.dtype.startswith("float") or prior.ndim > 1:
        raise ModelError(f"{option} expects a continuous prior of one number; got one of type {prior.type}.")
