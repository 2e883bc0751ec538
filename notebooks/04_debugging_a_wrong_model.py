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
# # Debugging a wrong model
#
# Models are wrong. A wrong one costs runs rather than the result (the generic model beside it takes over),
# but a mended one is worth having, and often says something about the system. Here we plant two mistakes in
# a model and let the study find them.

# %%
import os

import numpy as np
import pymc as pm

import boatppl as boat

RUNS = int(os.environ.get("BOATPPL_NOTEBOOK_TRIALS", 28))
RUNS = max(RUNS, 12)  # fewer say too little

# %% [markdown]
# ## The system
#
# A simulated collector, so that we know what is true: a pause copies what survived, in a young generation
# and at an age that are set by flags.

# %%
space = boat.Space(
    young_mb=boat.Float(16, 192, log=True, unit="MB", default=64),
    survivor_ratio=boat.Float(1, 32, log=True, default=8),
    tenuring=boat.Integer(0, 15, default=4),
)
rng = np.random.default_rng(1)


def run(configuration):
    """One run of the system: 5 % of noise on each measurement."""
    young, ratio, tenuring = configuration.values()
    gc_rate = 300 * (ratio + 2) / (young * ratio) * rng.lognormal(0, 0.05)
    gc_pause = (2 + 0.1 * young * (1 + 0.1 * tenuring)) * rng.lognormal(0, 0.05)
    p99 = (4 + 0.15 * gc_rate * gc_pause) * rng.lognormal(0, 0.05)
    return {"gc_rate": gc_rate, "gc_pause": gc_pause, "p99": p99}


# %% [markdown]
# ## The wrong model
#
# - `gc_rate` divides by `young_mb` where it should divide by eden: **a missing edge**, `survivor_ratio` is
#   not among its arguments.
# - `gc_pause` says that pauses do not depend on the size of the young generation: **a wrong term**.


# %%
@boat.node(unit="1/s", transform="log")
def gc_rate(young_mb):
    malloc_rate = pm.LogNormal("malloc_rate", 5, 1)  # MB/s
    return malloc_rate / young_mb


@boat.node(unit="ms", transform="log", residual=boat.GP(inputs=["young_mb", "tenuring"]))
def gc_pause(tenuring):
    fixed = pm.LogNormal("fixed", 2, 1)  # ms
    return fixed * (1 + 0.1 * tenuring)


@boat.node(unit="ms", transform="log")
def p99(gc_rate, gc_pause):
    service = pm.LogNormal("service", 1, 1)  # ms without collections
    share = pm.LogNormal("share", -2, 1)
    return service + share * gc_rate * gc_pause


wrong = boat.DAGModel(space, [gc_rate, gc_pause, p99])
wrong

# %% [markdown]
# ## Some runs
#
# A diagnosis needs runs all over the space (eight at least). Here is a quasi-random design; the trials of a
# search that is under way do as well.

# %%
study = boat.Study(wrong, minimize="p99", random_seed=1)
for configuration in space.design(RUNS, seed=1):
    study.tell(configuration, run(configuration))

# %% [markdown]
# ## Look
#
# How well does each node predict runs that were left out? A good node's dots follow the line.

# %%
_ = boat.plots.plot_predicted_measured(study, ["gc_rate", "gc_pause", "p99"])

# %% [markdown]
# How much of each node does its formula explain, how much its residual? The residual of `gc_pause` works
# hard. That of `gc_rate` cannot help: it sees only `young_mb`, so what is missing counts as noise.

# %%
_ = boat.plots.plot_residual_share(study)

# %% [markdown]
# ## Ask
#
# `diagnose` says what is wrong, worst first, each with a number and a remedy.

# %%
diagnosis = study.diagnose()
diagnosis

# %% [markdown]
# Which node spoils the objective? Each bar is the share of the error of `p99`, end to end, that would go away
# if the node's true values were known.

# %%
_ = boat.plots.plot_attribution(study)

# %% [markdown]
# And the two suspects by eye: what each formula left over, run by run. Where there is a trend, something is
# missing.

# %%
_ = boat.plots.plot_residual_along(study, "gc_rate")

# %%
_ = boat.plots.plot_residual_along(study, "gc_pause", ["young_mb", "tenuring"])

# %% [markdown]
# ## Mend
#
# One line each.


# %%
@boat.derived(unit="MB")
def eden_mb(young_mb, survivor_ratio):
    return young_mb * survivor_ratio / (survivor_ratio + 2)


@boat.node(unit="1/s", transform="log")
def gc_rate(eden_mb):
    malloc_rate = pm.LogNormal("malloc_rate", 5, 1)  # MB/s
    return malloc_rate / eden_mb


half_mended = boat.DAGModel(space, [eden_mb, gc_rate, gc_pause, p99])


@boat.node(unit="ms", transform="log")
def gc_pause(young_mb, tenuring):
    fixed = pm.LogNormal("fixed", 1, 1)  # ms
    per_mb = pm.LogNormal("per_mb", -2, 1)  # ms for each MB
    return fixed + per_mb * young_mb * (1 + 0.1 * tenuring)


mended = boat.DAGModel(space, [eden_mb, gc_rate, gc_pause, p99])

# %% [markdown]
# ## Compare
#
# Every run is predicted from the others, end to end, by each model. The better model has the larger `elpd`
# (log density of what was left out).

# %%
study.compare({"wrong": wrong, "one mended": half_mended, "mended": mended, "generic": None})

# %% [markdown]
# And is anything left to complain of?

# %%
after = boat.Study(mended, minimize="p99", random_seed=1)
for trial in study.trials:
    after.tell(trial.configuration, trial.measurements)
after.diagnose()

# %% [markdown]
# ## Where to go on
#
# - What `diagnose` can tell: a missing edge, a wrong shape, a prior in the way, drift over the runs, uneven
#   noise, bad runs, a parent that is measured with error, unknowns that cannot be told apart.
# - It cannot see what no run varied, and with few runs it says that it cannot judge.
# - A study in a file opens with a mended model and keeps its runs: notebook 06.
