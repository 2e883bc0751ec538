# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From a generic tuner to a first model, in ten minutes
#
# A store runs on a garbage-collected heap, and three flags decide how long its slowest requests take.
# First a generic tuner searches them; then we write down what we know, one small PyMC function at a time,
# and see what that buys.
#
# **The system here is a simulation**: a dozen lines of arithmetic about a generational collector, with
# noise. It is fast, it needs nothing installed, and at the end we can compare with the truth. `make demo`
# does the same with a real Java VM.

# %%
import os

import arviz as az
import numpy as np
import pymc as pm

import boatppl as boat

TRIALS = int(os.environ.get("BOATPPL_NOTEBOOK_TRIALS", 14))  # of each tuner

# %% [markdown]
# ## The system
#
# The space is every flag with its range. `default` is the configuration in use today: it is the first
# trial, and what results are compared with.

# %%
space = boat.Space(
    young_mb=boat.Integer(4, 80, log=True, unit="MB", default=24),
    survivor_ratio=boat.Integer(1, 16, log=True, default=8),
    tenuring=boat.Integer(0, 15, default=4),
)


def truth(young_mb, survivor_ratio, tenuring):
    """The collector without noise: collections and full collections per second, 99th percentile in ms."""
    eden = young_mb * survivor_ratio / (survivor_ratio + 2)
    survivor = young_mb / (survivor_ratio + 2)
    gc_rate = 210 / eden  # the application allocates 210 MB/s
    alive = 0.8 + 5 * (1 - np.exp(-eden / 30))  # MB that survive a collection
    overflow = max(alive - survivor, 0)  # what does not fit into a survivor space is promoted
    promoted = 0.25 + overflow + (alive - overflow) * 0.75 ** (tenuring + 1)
    full_rate = gc_rate * promoted / (96 - 8 - young_mb)  # a heap of 96 MB, 8 MB of it always alive
    return gc_rate, full_rate, 3 + 0.8 * gc_rate * (1 + 0.1 * alive) + 60 * full_rate


def simulated(seed):
    """A function that runs one configuration and returns what it measured, with noise of a few per cent."""
    rng = np.random.default_rng(seed)

    def run(configuration):
        gc_rate, full_rate, p99 = truth(**configuration)
        return {
            "gc_rate": gc_rate * np.exp(0.02 * rng.normal()),
            "full_rate": full_rate * np.exp(0.10 * rng.normal()),
            "p99": p99 * np.exp(0.05 * rng.normal()),
        }

    return run


# %% [markdown]
# ## Generic first
#
# With a space alone, `optimize` is a generic Bayesian optimiser: a Gaussian process over all parameters,
# fully Bayesian, expected improvement. It only looks at `p99`. The other measurements are kept with the
# trials, for later models.

# %%
generic = boat.optimize(simulated(1), space, minimize="p99", n_trials=TRIALS, random_seed=1)

# %%
generic

# %% [markdown]
# ## What we know
#
# A young collection runs when eden is full. So their rate is the allocation rate divided by the size of
# eden: we know the formula, not the number. That is one node: the arguments are the wires, `pm.…` makes
# an unknown with a prior, and the node's *residual* (a Gaussian process) comes for free. It learns what
# the formula does not say.
#
# The heap that is left for old objects fills with what is promoted; when it is full, everything stops for
# a full collection. And the slowest requests are those that met a collection. Constants are unknowns with
# wide priors.

# %%
HEAP_MB = 96


@boat.derived
def eden_mb(young_mb, survivor_ratio):
    return young_mb * survivor_ratio / (survivor_ratio + 2)


@boat.node(unit="1/s", transform="log")
def gc_rate(eden_mb):
    malloc_rate = pm.LogNormal("malloc_rate", 5, 1)  # MB/s: between 30 and 770, nine times in ten
    return malloc_rate / eden_mb


@boat.node(unit="1/s", transform="log", residual=boat.GP(inputs=["young_mb", "survivor_ratio", "tenuring"]))
def full_rate(gc_rate, young_mb):
    promoted = pm.LogNormal("promoted", 0, 1)  # MB at each young collection
    live = pm.Uniform("live", 0, 14)  # MB that are never free
    return gc_rate * promoted / (HEAP_MB - young_mb - live)


@boat.node(unit="ms", transform="log")
def p99(gc_rate, full_rate):
    floor = pm.LogNormal("floor", 1, 1)  # ms without any collection
    per_young = pm.LogNormal("per_young", 0, 1)  # ms for each young collection per second
    per_full = pm.LogNormal("per_full", 4, 1)  # ms for each full collection per second
    return floor + per_young * gc_rate + per_full * full_rate


model = boat.DAGModel(space, [eden_mb, gc_rate, full_rate, p99])
model

# %% [markdown]
# We said nothing about how `promoted` depends on the survivor spaces and on tenuring. It does, and the
# residual of `full_rate` will have to find out: that is what its inputs are for.
#
# ## Before the first run: are the priors sane?
#
# A study without trials predicts from the prior: the 5, 50 and 95 % points of what the configuration in use
# today would measure. They should be wide, but not absurd: hundreds of collections a second would be.

# %%
prior = boat.Study(model, minimize="p99", random_seed=1).predict(space.default)
prior.quantile([0.05, 0.5, 0.95], dim="sample").squeeze("configuration").to_dataframe().round(2)

# %% [markdown]
# A node opens as ordinary PyMC, so that everything of PyMC works on it, before there are data and after.

# %%
with model["gc_rate"].to_pymc():
    draws = pm.sample_prior_predictive(draws=200, random_seed=1)
az.summary(draws, group="prior", var_names=["malloc_rate"], kind="stats")

# %% [markdown]
# ## The same search with the model
#
# Every suggestion was predicted before it was run: compare the columns *predicted* and *measured*. The
# generic model is kept beside ours and weighed by how well it predicted, so that a wrong model would not
# cost much; the last line says how much each is listened to.

# %%
result = boat.optimize(simulated(1), model, minimize="p99", n_trials=TRIALS, random_seed=1, confirm=3)

# %%
result

# %% [markdown]
# This is a simulation, so we can ask for the truth: the best of all configurations, and what each tuner
# chose.

# %%
everything = [
    {"young_mb": young, "survivor_ratio": ratio, "tenuring": tenuring}
    for young in range(4, 81)
    for ratio in range(1, 17)
    for tenuring in range(16)
]
best_of_all = min(everything, key=lambda configuration: truth(**configuration)[2])
for name, configuration in {
    "default": space.default,
    "generic": generic.best_configuration,
    "structured": result.best_configuration,
    "best of all": best_of_all,
}.items():
    print(f"{name:12} {truth(**configuration)[2]:6.2f} ms   {dict(configuration)}")

# %% [markdown]
# ## What was learned
#
# `result.posterior` samples long chains and gives an xarray tree with a child for every node. Each goes
# to ArviZ as it is. The prior knew the allocation rate to a factor of five; it is 210 MB/s in the
# simulation.

# %%
posterior = result.posterior
az.summary(posterior["gc_rate"], var_names=["malloc_rate", "amplitude", "noise"])

# %%
_ = az.plot_dist(posterior["gc_rate"], var_names=["malloc_rate"])
# %% [markdown]
# The constants of `p99`, and whether the node can reproduce what it was fitted to:

# %%
_ = az.plot_forest(posterior["p99"], var_names=["floor", "per_young", "per_full"], combined=True)
# %%
_ = az.plot_ppc_dist(posterior["p99"], num_samples=60)
# %% [markdown]
# The residual of `full_rate` has short lengthscales where the formula left something out. A lengthscale
# well below 1 (of the unit cube) means that this input matters.

# %%
az.summary(posterior["full_rate"], var_names=["promoted", "amplitude", "lengthscale"], kind="stats")

# %% [markdown]
# ## Predicting configurations that were never run
#
# `predict` gives draws of every node, joint over configurations; `noise=False` is the quantity itself
# rather than one measurement of it.

# %%
wanted = [space.default | {"young_mb": young, "tenuring": 12} for young in (16, 32, 48, 64, 80)]
predicted = result.study.predict(wanted, noise=False)["p99"].quantile([0.05, 0.5, 0.95], dim="sample")
for configuration, (low, median, high) in zip(wanted, predicted.values.T, strict=True):
    print(
        f"young {configuration['young_mb']:2} MB: {median:5.1f} ms, 90 % {low:5.1f} to {high:5.1f}; "
        f"the truth is {truth(**configuration)[2]:5.1f}"
    )

# %% [markdown]
# ## Where to go on
#
# - `result.study` goes on: `study.ask()`, `study.tell(...)`, or `optimize` again with the same `storage=`.
# - A node with a large share of residual is where the next hour of thinking pays: here `full_rate`. What does
#   a survivor space that is too small do to `promoted`?
# - `print(model)`, `model["p99"].to_pymc(result.study.trials)` and PyMC's own tools show what is inside.
