"""Bayesian optimisation of function networks (Astudillo & Frazier 2021) on BoTorch, written for the bench.

It is told every measured quantity and the graph (node -> its inputs), and no formula: one exact GP a node
(`SingleTaskGP`, inputs scaled to their range) over its parameters and parent nodes. Expected improvement of
the last node, in log form (Ament et al. 2023), by 128 joint draws pushed through the graph with fixed
quasi-random numbers, maximised as BoTorch's peer does.
"""

import torch
from botorch.acquisition import AcquisitionFunction
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.transforms import Normalize
from botorch.utils.safe_math import log_fatplus, logmeanexp
from botorch.utils.sampling import draw_sobol_normal_samples
from botorch.utils.transforms import t_batch_mode_transform
from botorch_peer import BoTorchPeer
from gpytorch.mlls import ExactMarginalLogLikelihood
from protocol import serve

SAMPLES, TAU = 128, 1e-3


class Network(torch.nn.Module):
    """One GP a node, and draws of all nodes at rows of the unit cube."""

    def __init__(self, gps, inputs, columns, objective, seed):
        super().__init__()
        self.gps, self.inputs, self.columns = gps, inputs, columns
        self.objective = objective
        self.numbers = draw_sobol_normal_samples(len(gps), SAMPLES, seed=seed)  # (sample, node)

    def draws(self, X):
        """Return draws (sample, row) of the objective at rows X (row, parameter), parents before children."""
        found = {}
        for k, (name, gp) in enumerate(self.gps.items()):
            parts = [
                found[other] if other in found else X[:, self.columns[other]].expand(SAMPLES, -1)
                for other in self.inputs[name]
            ]
            posterior = gp.posterior(torch.stack(parts, -1)[..., None, :])
            mean, deviation = posterior.mean[..., 0, 0], posterior.variance.clamp_min(1e-12).sqrt()[..., 0, 0]
            found[name] = mean + deviation * self.numbers[:, k : k + 1]
        return found[self.objective]


class LogImprovement(AcquisitionFunction):
    """Log of the expected improvement of a network's objective on the best so far."""

    def __init__(self, network, sign, best, scale):
        super().__init__(model=network)
        self.network, self.sign, self.best, self.scale = network, sign, best, scale

    @t_batch_mode_transform(expected_q=1)
    def forward(self, X):
        """Return the acquisition (batch,) at X (batch, 1, parameter)."""
        gain = (self.sign * self.network.draws(X[:, 0]) - self.best) / self.scale
        return logmeanexp(log_fatplus(gain, tau=TAU), dim=0)


class NetworkPeer(BoTorchPeer):
    """BoTorch's peer with a network in place of one GP."""

    def model(self):
        """Fit one GP a node; kept until something is told."""
        if self.fitted is None:
            X, Y = torch.tensor(self.rows), torch.tensor(self.told)
            columns = {item["name"]: i for i, item in enumerate(self.spec["space"])}
            outputs = {name: i for i, name in enumerate(self.spec["outputs"])}
            gps = {}
            for name, inputs in self.spec["network"].items():
                parts = [
                    Y[:, outputs[other]] if other in outputs else X[:, columns[other]] for other in inputs
                ]
                y = Y[:, [outputs[name]]]
                gp = SingleTaskGP(torch.stack(parts, -1), y, input_transform=Normalize(len(inputs)))
                fit_gpytorch_mll(ExactMarginalLogLikelihood(gp.likelihood, gp))
                gps[name] = gp
            self.fitted = Network(
                gps, self.spec["network"], columns, self.spec["objective"], self.spec["seed"]
            )
        return self.fitted

    def best(self):
        """Return the configuration told whose mean through the network is best."""
        if len(self.rows) < self.spec["n_initial"]:
            return super().best()
        return self.configurations[int(self.means().argmax())]

    def means(self):
        """Return the posterior means (trial,) at the configurations told, the larger the better; without
        noise, what was measured."""
        if not self.spec["noisy"]:
            return self.sign * torch.tensor(self.told)[:, self.index]
        model = self.model()
        with torch.no_grad():
            return self.sign * model.draws(torch.tensor(self.rows)).mean(dim=0)

    def acquisition(self, model):
        """Return log expected improvement on the best so far."""
        scale = torch.tensor(self.told)[:, self.index].std().clamp_min(1e-9)
        return LogImprovement(model, self.sign, self.means().max(), scale)


if __name__ == "__main__":
    serve(NetworkPeer())
