"""BoTorch with a fully Bayesian GP, run by the bench in BoTorch's environment and NumPyro.

``prior`` is ``"saas"`` (SAASBO, Eriksson & Jankowiak 2021: a sparsity prior) or ``"plain"`` (Matern-5/2 with
dimension-scaled priors, Hvarfner et al. 2024), which stands in for Spearmint's slice-sampled GP, as that no
longer installs. NUTS with 256 warm-up steps and 128 draws, every 16th kept, as BoTorch's tutorial has it;
log noisy expected improvement averaged over the draws. Spaces of numbers only.
"""

import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.objective import GenericMCObjective
from botorch.fit import fit_fully_bayesian_model_nuts
from botorch.models.fully_bayesian import FullyBayesianSingleTaskGP, SaasFullyBayesianSingleTaskGP
from botorch.models.transforms import Standardize
from botorch_peer import BoTorchPeer
from protocol import serve

WARMUP, DRAWS, EVERY = 256, 128, 16
MODELS = {"saas": SaasFullyBayesianSingleTaskGP, "plain": FullyBayesianSingleTaskGP}


class BayesianPeer(BoTorchPeer):
    """BoTorch's peer with its one GP sampled by MCMC instead of fitted."""

    def model(self):
        """Sample the GP of the objective; kept until something is told."""
        if self.fitted is None:
            Y = torch.tensor(self.told)[:, [self.index]]
            gp = MODELS[self.spec["options"]["prior"]](
                torch.tensor(self.rows), Y, outcome_transform=Standardize(m=1)
            )
            fit_fully_bayesian_model_nuts(
                gp, warmup_steps=WARMUP, num_samples=DRAWS, thinning=EVERY, disable_progbar=True
            )
            self.fitted = gp
        return self.fitted

    def best(self):
        """Return the configuration told whose posterior mean, over the draws, is best."""
        if len(self.rows) < self.spec["n_initial"]:
            return super().best()
        posterior = self.model().posterior(torch.tensor(self.rows))
        mean = posterior.mixture_mean[..., 0] * self.sign
        return self.configurations[int(mean.argmax())]

    def acquisition(self, model):
        """Return log noisy expected improvement, averaged over the draws."""
        sign = self.sign
        return qLogNoisyExpectedImprovement(
            model,
            torch.tensor(self.rows),
            objective=GenericMCObjective(lambda Y, X=None: sign * Y[..., 0]),
            prune_baseline=False,
            cache_root=False,
        )


if __name__ == "__main__":
    serve(BayesianPeer())
