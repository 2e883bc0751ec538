"""Where runs succeed: learned from the ones that failed."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import log_ndtr, logsumexp

from boatppl.dag import generic_model
from boatppl.fit import Inference
from boatppl.space import Space
from boatppl.suggest import Score
from boatppl.table import measured
from boatppl.trial import Trial

CARE = 3.0  # a run that fails costs a trial and teaches little, so a gain there is worth less than its odds
SUCCESS = "success"  # the name of the node: 1 where a run succeeded, -1 where it failed


class Feasibility:
    """The probability that a run succeeds, as a function of the configuration.

    Least-squares classification (Rasmussen & Williams 2006, sec. 6.5): the generic model is fitted to +1 and
    -1, with a lengthscale for each parameter, so a parameter that has nothing to do with the failures soon
    counts for nothing.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self.inference = Inference(generic_model(space, SUCCESS), seed)

    def learn(self, succeeded: Sequence[Trial], failed: Sequence[Trial]) -> Score:
        """Return ``CARE`` times the log probability of success ``(configuration,)``."""
        rows = [replace(trial, measurements={SUCCESS: 1.0}) for trial in succeeded]
        rows += [replace(trial, measurements={SUCCESS: -1.0}) for trial in failed]
        posterior = self.inference.posterior(measured(self.inference.model, rows))
        luck = posterior.luck([self.inference.seed, 61])
        transform = posterior.transforms[SUCCESS]
        contexts = dict(rows[-1].context)

        def log_probability(unit: np.ndarray) -> np.ndarray:
            forward = posterior.propagate(unit, SUCCESS, luck, contexts)
            mean, variance = forward.objective()
            spread = np.sqrt(variance + forward.steps[SUCCESS].noise ** 2)
            z = (transform.location + transform.spread * mean) / (transform.spread * spread)
            return CARE * (np.asarray(logsumexp(log_ndtr(z), axis=0)) - np.log(len(z)))

        return log_probability
