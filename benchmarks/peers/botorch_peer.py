"""BoTorch as it recommends itself, run by the bench in an environment of its own (`protocol.py` says how).

One exact GP a measured quantity (`SingleTaskGP`, maximum a posteriori by `fit_gpytorch_mll`, its own priors,
Standardize; where runs do not scatter it is told so by `train_Yvar`), Monte-Carlo log noisy expected
improvement of the objective with 512 quasi-random samples (its default), maximised by `optimize_acqf` with 10
restarts of 512 raw samples. Integers are relaxed and rounded; where a space has categoricals or Booleans,
`MixedSingleTaskGP` and `optimize_acqf_mixed_alternating`; a finite set of configurations is searched by
`optimize_acqf_discrete`.
"""

import math
import time
import warnings

import botorch
import gpytorch
import torch
from botorch.acquisition.logei import qLogNoisyExpectedImprovement
from botorch.acquisition.objective import GenericMCObjective
from botorch.fit import fit_gpytorch_mll
from botorch.models import MixedSingleTaskGP, ModelListGP, SingleTaskGP
from botorch.optim import optimize_acqf, optimize_acqf_discrete
from botorch.optim.optimize_mixed import optimize_acqf_mixed_alternating
from gpytorch.mlls import ExactMarginalLogLikelihood
from protocol import Cube, serve
from torch.quasirandom import SobolEngine

RESTARTS, RAW_SAMPLES = 10, 512
NOISELESS = 1e-6  # of the variance, where runs do not scatter: as its documentation has it for such data


class BoTorchPeer:
    """Noisy expected improvement with one independent GP a measured quantity."""

    def open(self, spec):
        """Begin a study; return the versions in use."""
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(spec["seed"])
        warnings.simplefilter("ignore")
        self.spec, self.cube = spec, Cube(spec["space"])
        self.sign = -1.0 if spec["minimize"] else 1.0  # BoTorch maximises
        self.sobol = SobolEngine(len(spec["space"]), scramble=True, seed=spec["seed"])
        self.rows, self.told, self.configurations, self.fitted = [], [], [], None
        return {"torch": torch.__version__, "gpytorch": gpytorch.__version__, "botorch": botorch.__version__}

    def tell(self, configuration, measurements):
        """Take a run's measurements."""
        transforms = self.spec.get("transforms", {})
        values = [
            math.log(measurements[name]) if transforms.get(name) == "log" else measurements[name]
            for name in self.spec["outputs"]
        ]
        self.configurations.append(configuration)
        self.rows.append(self.cube.encode(configuration))
        self.told.append(values)
        self.fitted = None

    def ask(self):
        """Return the next configuration and the seconds that fitting and searching took."""
        if not self.rows and self.spec.get("default"):
            return self.spec["default"], {}
        if len(self.rows) < self.spec["n_initial"]:
            return self.cube.uniform(self.sobol.draw(1)[0].tolist()), {}
        began = time.perf_counter()
        model = self.model()
        fitted = time.perf_counter()
        row = self.search(model)
        return self.cube.decode(row), {"fit": fitted - began, "search": time.perf_counter() - fitted}

    def best(self):
        """Return the configuration told whose posterior mean is best (before the first model: the
        luckiest)."""
        if len(self.rows) < self.spec["n_initial"]:
            return max(zip(self.told, self.configurations), key=lambda pair: self.sign * pair[0][self.index])[
                1
            ]
        mean = self.model().posterior(torch.tensor(self.rows)).mean[:, self.index] * self.sign
        return self.configurations[int(mean.argmax())]

    @property
    def index(self):
        """The objective's place among the outputs."""
        return self.spec["outputs"].index(self.spec["objective"])

    def model(self):
        """Fit one GP a measured quantity; the fit is kept until something is told."""
        if self.fitted is None:
            X, Y = torch.tensor(self.rows), torch.tensor(self.told)
            categorical = list(self.cube.categorical)
            models = []
            for i in range(Y.shape[1]):
                y = Y[:, i : i + 1]
                known = None if self.spec["noisy"] else NOISELESS * y.var().clamp_min(1e-12).expand_as(y)
                gp = (
                    MixedSingleTaskGP(X, y, cat_dims=categorical, train_Yvar=known)
                    if categorical
                    else SingleTaskGP(X, y, train_Yvar=known)
                )
                fit_gpytorch_mll(ExactMarginalLogLikelihood(gp.likelihood, gp))
                models.append(gp)
            self.fitted = ModelListGP(*models) if len(models) > 1 else models[0]
        return self.fitted

    def search(self, model):
        """Return the row that maximises the acquisition."""
        return self.maximized(self.acquisition(model))

    def acquisition(self, model):
        """Return the acquisition of a model."""
        index, sign = self.index, self.sign
        return qLogNoisyExpectedImprovement(
            model,
            torch.tensor(self.rows),
            objective=GenericMCObjective(lambda Y, X=None: sign * Y[..., index]),
        )

    def maximized(self, acquisition):
        """Return the row where an acquisition is largest."""
        if self.spec.get("choices"):
            rows = torch.tensor([self.cube.encode(choice) for choice in self.spec["choices"]])
            return optimize_acqf_discrete(acquisition, q=1, choices=rows)[0][0].tolist()
        counts, binary = self.cube.categorical, self.cube.binary
        high = [float(counts[i] - 1) if i in counts else 1.0 for i in range(len(self.spec["space"]))]
        bounds = torch.tensor([[0.0] * len(high), high])
        if counts or binary:
            found, _ = optimize_acqf_mixed_alternating(
                acquisition,
                bounds,
                discrete_dims={i: [0.0, 1.0] for i in binary},
                cat_dims={i: [float(code) for code in range(n)] for i, n in counts.items()},
                q=1,
                num_restarts=RESTARTS,
                raw_samples=RAW_SAMPLES,
            )
        else:
            found, _ = optimize_acqf(acquisition, bounds, q=1, num_restarts=RESTARTS, raw_samples=RAW_SAMPLES)
        return found[0].tolist()


if __name__ == "__main__":
    serve(BoTorchPeer())
